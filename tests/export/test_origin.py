"""What a model's run says of itself, and what is left out: paths, hosts, keys, and reports of other weights."""

import json

import pytest

from recognition.errors import InputError
from recognition.export.origin import Evaluation, Origin, origin_of

SHA = "ab" * 32
META = {"sha256": SHA, "accuracy": {"lfw": 0.9}}
CONFIG = {
    "rec": "/data/someone/ms1m-retinaface-t1/",
    "num_image": 5179510,
    "num_classes": 93431,
    "network": "r50",
    "loss": "combined",
    "margin_list": [1.0, 0.5, 0.0],
    "batch_size": 128,
    "augment": [],
    "precision": None,
    "output": "/home/someone/runs/first",
    "val_dir": "/data/someone",
    "wandb_key": "secret",
    "notes": "private",
}


def report(*outcomes, sha256=SHA):
    models = [{"sha256": "cd" * 32}, {"sha256": sha256, "file": "/home/someone/a.onnx"}]
    targets = [{"name": name, "models": [0, 1], "outcomes": [{"accuracy": 0.1}, outcome]} for name, outcome in outcomes]
    return {"models": models, "targets": targets}


@pytest.fixture
def run(tmp_path):
    """A run directory with config and provenance."""
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    starts = [{"version": "1", "host": "workstation", "commit": c, "ranks": 8, "torch": None} for c in ("old", "new")]
    (tmp_path / "provenance.json").write_text(json.dumps(starts))
    return tmp_path


def test_a_run_tells_data_recipe_and_the_newest_traces(run):
    found = origin_of(run, META)
    assert found.data == {"name": "ms1m-retinaface-t1", "images": 5179510, "identities": 93431}
    assert found.recipe == {"loss": "combined", "margin_list": [1.0, 0.5, 0.0], "batch_size": 128}
    assert found.traces == {"version": "1", "commit": "new", "ranks": 8}
    assert found.evaluations == [Evaluation("lfw", 0.9)]
    assert found.evaluated_by == "the weights themselves"
    assert not any(word in repr(found) for word in ("someone", "workstation", "secret", "private"))
    assert origin_of(run / "best.safetensors", META) == found  # a file in a run is of that run


def test_of_several_sets_each_is_named(run):
    (run / "config.json").write_text(json.dumps(CONFIG | {"rec": ["/data/a/one", "/data/b/two.rec"]}))
    assert origin_of(run, META).data["name"] == "one,two.rec"


def test_nothing_is_known_of_a_file_by_itself(tmp_path):
    assert origin_of(tmp_path / "a.pt", {"sha256": SHA}) == Origin(evaluations=[])
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    assert origin_of(tmp_path / "a.pt", {"sha256": SHA}) == Origin(evaluations=[])


def test_the_runs_report_comes_before_what_the_weights_say(run):
    (run / "report").mkdir()
    outcome = {"accuracy": 0.95, "accuracy_std": 0.01, "pairs": 6000, "threshold": 1.4}
    (run / "report" / "report.json").write_text(json.dumps(report(("lfw", outcome), ("ijbc", {"tar": 0.9}))))
    found = origin_of(run, META)
    assert found.evaluations == [Evaluation("lfw", 0.95, 0.01, 6000, pytest.approx(0.3))]
    assert found.evaluated_by == "report.json"


def test_a_runs_report_of_other_weights_says_nothing(run):
    (run / "report").mkdir()
    text = json.dumps(report(("lfw", {"accuracy": 0.95}), sha256="ef" * 32))
    (run / "report" / "report.json").write_text(text)
    assert origin_of(run, META).evaluations == [Evaluation("lfw", 0.9)]


def test_a_set_on_which_another_model_failed_keeps_its_own_figures(run):
    (run / "report").mkdir()
    content = report(("lfw", {"accuracy": 0.95}), ("agedb", {"accuracy": 0.9}), ("cfp", {"accuracy": 0.8}))
    _, first_failed, own_failed = content["targets"]
    first_failed |= {"models": [1], "outcomes": first_failed["outcomes"][1:]}
    own_failed |= {"models": [0], "outcomes": own_failed["outcomes"][:1]}
    (run / "report" / "report.json").write_text(json.dumps(content))
    assert origin_of(run, META).evaluations == [Evaluation("lfw", 0.95), Evaluation("agedb", 0.9)]


def test_a_runs_report_of_an_earlier_version_says_nothing(run):
    (run / "report").mkdir()
    earlier = {"schema": "arcscale.verification.1", "model": META, "targets": [{"name": "lfw", "accuracy": 0.95}]}
    (run / "report" / "report.json").write_text(json.dumps(earlier))
    assert origin_of(run, META).evaluations == [Evaluation("lfw", 0.9)]


def test_a_report_that_is_given_must_be_of_these_weights(run, tmp_path):
    path = tmp_path / "other.json"
    path.write_text(json.dumps(report(("lfw", {"accuracy": 0.97}))))
    assert origin_of(run, META, path).evaluations == [Evaluation("lfw", 0.97)]
    path.write_text(json.dumps(report(("lfw", {"accuracy": 0.97}), sha256="ef" * 32)))
    with pytest.raises(InputError, match=r"other\.json is of other weights .*cdcdcdcdcdcd, efefefefefef, not aba"):
        origin_of(run, META, path)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"models": 3}', '{"models": [], "targets": [{}]}', '{"models": [1]}']
)
def test_what_is_no_report_is_named(run, tmp_path, text):
    (tmp_path / "other.json").write_text(text)
    with pytest.raises(InputError, match=r"other\.json is not a report of launch/verify\.py"):
        origin_of(run, META, tmp_path / "other.json")
    with pytest.raises(OSError, match="absent"):
        origin_of(run, META, tmp_path / "absent.json")
