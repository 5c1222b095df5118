"""launch/verify.py as a user types it: figures, reports, models side by side, one line for each mistake."""

import json
import sys

import pytest
import torch
from torch import nn

from launch import export, verify
from recognition.embedding.models import open_embedder
from recognition.export.onnx_file import export_onnx
from recognition.runtime import Runtime
from recognition.targets.opening import KINDS
from recognition.targets.pairs import PairsTarget
from recognition.targets.target import Options
from recognition.verification import load_pairs
from recognition.weights import save_backbone
from tests.commands import launch, run
from tests.filling import filled_backbone
from tests.pictures import write_people
from tests.verification.synthetic import pair_file


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    module = filled_backbone("mbf_tiny", 16)
    save_backbone(
        folder / "model.safetensors", module, {"network": "mbf_tiny", "embedding_size": 16, "image_size": 112}
    )
    (folder / "metrics.jsonl").write_text('{"kind": "train", "step": 1, "loss": 3.5, "lr": 0.1}\n' * 2)
    pair_file(folder / "small.bin", num_pairs=20, size=112)
    return folder


def test_export_then_verify_run_and_onnx_on_one_and_two_ranks(run_dir, monkeypatch, capfd):
    assert run(export, run_dir, "--out", run_dir / "model.onnx", monkeypatch=monkeypatch) == 0
    out, err = capfd.readouterr()
    assert ("mbf_tiny" in out, err) == (True, "")
    assert run(verify, run_dir, "--targets", run_dir / "small.bin", monkeypatch=monkeypatch) == 0
    out, err = capfd.readouterr()
    assert (out.startswith("small: accuracy 0."), err) == (True, "")
    report = json.loads((run_dir / "report-verify" / "report.json").read_text())
    assert not (run_dir / "report").exists()  # the report of the training run itself would stand there
    assert report["models"][0]["network"] == "mbf_tiny"
    assert report["training"]["loss"] == [3.5, 3.5]
    words = (run_dir / "model.onnx", "--targets", run_dir / "small.bin", "--out", run_dir / "onnx")
    done = launch("verify.py", *words, "--diagnose", "off", ranks=2)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("accuracy") == 1  # one rank talks
    again = json.loads((run_dir / "onnx" / "report.json").read_text())
    assert again["targets"][0]["outcomes"][0]["accuracy"] == report["targets"][0]["outcomes"][0]["accuracy"]
    assert again["models"][0]["sha256"] == report["models"][0]["sha256"]


@pytest.fixture(scope="module")
def linear(tmp_path_factory):
    """A recogniser of one matrix that every change of its input changes, and pairs for it."""
    folder = tmp_path_factory.mktemp("linear")
    torch.manual_seed(0)
    export_onnx(nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, 8)), folder / "model.onnx", {"image_size": 16})
    pair_file(folder / "small.bin", num_pairs=20, size=16)
    return folder


@pytest.mark.parametrize(
    "options", [{"bgr": True}, {"mean": 100.0}, {"std": 40.0}, {"bgr": True, "mean": 90.0, "std": 64.0}]
)
def test_the_model_sees_what_the_options_say(linear, tmp_path, monkeypatch, options):
    words = [word for name, value in options.items() for word in (f"--{name}", value) if word is not True]
    model, target = linear / "model.onnx", linear / "small.bin"
    assert run(verify, model, "--targets", target, "--out", tmp_path, *words, monkeypatch=monkeypatch) == 0
    report = json.loads((tmp_path / "report.json").read_text())
    wanted, unchanged = (
        PairsTarget("a", load_pairs(target)).score(open_embedder(model, **chosen), runtime=Runtime())
        for chosen in (options, {})
    )
    found = report["targets"][0]["outcomes"][0]
    assert found["xnorm"] == pytest.approx(wanted.xnorm, rel=1e-6)
    # Beginning with the threshold that accepts nothing, minus infinity, which JSON does not have.
    assert found["roc"]["distance"][1:] == pytest.approx(wanted.result.roc_distances[1:].tolist(), rel=1e-4)
    assert abs(unchanged.xnorm / wanted.xnorm - 1) > 1e-3
    expected = {"channel_order": "BGR" if "bgr" in options else "RGB", "mean": 127.5, "std": 127.5}
    expected |= {name: value for name, value in options.items() if name != "bgr"}
    assert {name: report["models"][0][name] for name in expected} == expected


def test_a_file_without_out_is_only_printed(linear, tmp_path, monkeypatch, capfd):
    (tmp_path / "model.onnx").write_bytes((linear / "model.onnx").read_bytes())
    monkeypatch.chdir(tmp_path)
    target, other = linear / "small.bin", tmp_path / "sub" / "small.bin"
    other.parent.mkdir()
    other.write_bytes(target.read_bytes())
    assert run(verify, "model.onnx", "--targets", target, other, monkeypatch=monkeypatch) == 0
    out = capfd.readouterr().out
    assert "report: " not in out
    first, second = [line for line in out.splitlines() if "accuracy" in line]
    assert first.startswith(f"{target}: ")
    assert second == first.replace(f"{target}: ", f"{other}: ", 1)  # two files of one name are both told
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["model.onnx", "sub"]


def test_mistakes_are_one_line_and_exit_code_2(run_dir, tmp_path, monkeypatch, capfd):
    pair_file(tmp_path / "other.bin", num_pairs=20, size=96)
    (tmp_path / "evil.bin").write_bytes(b"cos\nsystem\n(S'touch " + str(tmp_path / "sentinel").encode() + b"'\ntR.")
    (tmp_path / "file").write_text("")
    for words, message in [
        ((run_dir / "absent", "--targets", run_dir / "small.bin"), "does not exist"),
        ((run_dir, "--targets", run_dir / "absent.bin"), "does not exist"),
        ((run_dir, "--targets", tmp_path / "evil.bin"), "refused, nothing was executed"),
        ((run_dir, "--targets", tmp_path / "other.bin"), "96x96"),
        ((run_dir, "--targets", run_dir / "small.bin", run_dir / "small.bin"), "twice"),
        ((run_dir, "--targets", f"pair:{run_dir / 'small.bin'}"), "did you mean pairs:"),
        ((run_dir, "--targets", "lfw:"), "names no path"),
        ((run_dir, "--targets", run_dir / "small.bin", "--detector", "d.onnx"), "none of these targets takes it"),
        ((run_dir, "--targets", run_dir / "small.bin", "--groups", tmp_path / "absent.csv"), "absent.csv: cannot be"),
        ((run_dir, "--targets", run_dir / "small.bin", "--out", tmp_path / "file"), "no report can be written into"),
    ]:
        code = run(verify, *words, monkeypatch=monkeypatch)
        stderr = capfd.readouterr().err
        assert code == 2, stderr
        assert stderr.startswith("error: ")
        assert message in stderr
        assert stderr.count("\n") == 1
    assert not (tmp_path / "sentinel").exists()


def test_nothing_is_embedded_before_all_targets_and_the_folder_are_known_to_be_good(
    run_dir, tmp_path, monkeypatch, capfd
):
    (tmp_path / "file").write_text("")
    good = run_dir / "small.bin"
    for words in ((good, tmp_path / "absent.bin"), (good, "--out", tmp_path / "file")):
        assert run(verify, run_dir, "--targets", *words, monkeypatch=monkeypatch) == 2
        out, err = capfd.readouterr()
        assert (out, err.count("\n")) == ("", 1)


def test_two_models_side_by_side_each_get_what_they_want_and_are_compared(linear, tmp_path, monkeypatch, capfd):
    meta = {"image_size": 16, "channel_order": "BGR", "mean": 90.0, "std": 64.0}
    torch.manual_seed(1)
    export_onnx(nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, 8)), tmp_path / "bgr.onnx", meta)
    models = (linear / "model.onnx", tmp_path / "bgr.onnx")
    words = ("--targets", linear / "small.bin", "--out", tmp_path / "out", "--replicates", 40, "--seed", 3)
    assert run(verify, *models, *words, monkeypatch=monkeypatch) == 0
    out, err = capfd.readouterr()
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert [model["channel_order"] for model in report["models"]] == ["RGB", "BGR"]
    (target,) = report["targets"]
    options = Options(replicates=40, seed=3)
    alone = [
        PairsTarget("a", load_pairs(linear / "small.bin"), options=options).score(open_embedder(m), runtime=Runtime())
        for m in models
    ]
    assert [outcome["xnorm"] for outcome in target["outcomes"]] == pytest.approx([o.xnorm for o in alone], rel=1e-6)
    entries = PairsTarget("a", load_pairs(linear / "small.bin"), options=options).compare(alone)
    for found, entry in zip(target["comparisons"], entries, strict=True):
        assert found == entry
        assert f"{entry['metric']} {entry['difference']:+.4f}" in out
    assert "small, bgr.onnx: accuracy " in out
    assert "small, model.onnx less bgr.onnx: accuracy " in out
    assert [outcome["resampling"] for outcome in target["outcomes"]] == [
        {"unit": "pairs", "replicates": 40, "seed": 3}
    ] * 2


def test_people_of_a_list_are_resampled_and_the_pages_say_so(linear, tmp_path, monkeypatch, capfd):
    write_people(tmp_path / "people", {"ann": 4, "bob": 4})
    rows = [f"{'ann' if k % 2 else 'bob'}/{k % 4}.jpg,ann/{k * 3 % 4}.jpg,{k % 2}" for k in range(20)]
    rows = [f"{row},{row.split('/')[0]},ann" for row in rows]
    (tmp_path / "list.csv").write_text("first,second,same,first_person,second_person\n" + "\n".join(rows))
    words = ("--targets", tmp_path / "list.csv", "--images", tmp_path / "people", "--out", tmp_path / "out")
    for unit, said in (
        ((), "take the people for independent"),
        (("--unit", "pairs"), "take the pairs for independent"),
    ):
        more = ("--replicates", 20, "--diagnose", "off", *unit)
        assert run(verify, linear / "model.onnx", *words, *more, monkeypatch=monkeypatch) == 0, capfd.readouterr().err
        (outcome,) = json.loads((tmp_path / "out" / "report.json").read_text())["targets"][0]["outcomes"]
        assert outcome["resampling"]["unit"] == (unit[1] if unit else "people")
        for page in ("index.html", "report.md"):
            assert said in (tmp_path / "out" / page).read_text()


@pytest.mark.parametrize("replicates", [-1, 1])
def test_so_few_resamples_are_refused_before_anything_is_opened(replicates, monkeypatch, capfd):
    assert run(verify, "absent", "--targets", "absent.bin", "--replicates", replicates, monkeypatch=monkeypatch) == 2
    assert "--replicates must be 0 for no intervals, or at least 2" in capfd.readouterr().err


def test_groups_and_names_of_a_list_are_in_the_report(linear, tmp_path, monkeypatch, capfd):
    write_people(tmp_path / "people", {"ann": 4, "bob": 4})
    rows = [f"{'ann' if k % 2 else 'bob'}/{k % 4}.jpg,ann/{k * 3 % 4}.jpg,{k % 2},{k % 3}" for k in range(20)]
    (tmp_path / "list.csv").write_text("first,second,same,group\n" + "\n".join(rows))
    words = ("--targets", tmp_path / "list.csv", "--images", tmp_path / "people", "--out", tmp_path / "out")
    more = ("--replicates", 0, "--diagnose", "off")
    assert run(verify, linear / "model.onnx", *words, *more, monkeypatch=monkeypatch) == 0, capfd.readouterr().err
    (outcome,) = json.loads((tmp_path / "out" / "report.json").read_text())["targets"][0]["outcomes"]
    assert [(group["group"], group["pairs"]) for group in outcome["groups"]] == [("0", 7), ("1", 7), ("2", 6)]
    assert "intervals" not in outcome
    worst = outcome["false_accepts"] + outcome["false_rejects"]
    assert worst
    for entry in worst:
        first, second, *_ = rows[entry["pair"]].split(",")
        assert (entry["first"], entry["second"]) == (
            str(tmp_path / "people" / first),
            str(tmp_path / "people" / second),
        )


def test_help_explains_every_kind(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["command", "-h"])
    with pytest.raises(SystemExit) as ended:
        verify.main()
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    assert "python launch/" in shown
    assert all(f"{kind}:" in shown for kind in KINDS)
