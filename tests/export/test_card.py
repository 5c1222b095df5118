"""The card: a header that YAML and Hugging Face read, filled from what is known, "not stated" for the rest."""

import re

import pytest

from recognition.export.card import model_card, yaml_lines
from recognition.export.origin import Evaluation, Origin

META = {
    "network": "r50",
    "params": 43_590_976,
    "embedding_size": 512,
    "image_size": 112,
    "channel_order": "RGB",
    "mean": 127.5,
    "std": 127.5,
    "sha256": "ab" * 32,
}
KNOWN = Origin(
    data={"name": "faces", "images": 5_179_510, "identities": 93_431},
    recipe={"loss": "combined", "margin_list": [1.0, 0.5, 0.0]},
    traces={"commit": "abc"},
    evaluations=[Evaluation("lfw", 0.998333333, 0.002, 6000, 0.3), Evaluation("cfp|fp", 0.98)],
    evaluated_by="report.json",
)


@pytest.mark.parametrize(
    "value",
    [
        {"a": "no", "b": ["on", "1e3", 2.5, None, True], "c": {"d": [{"e": [1], "f": {}}, {"g": 'x: "y" # z'}]}},
        {"text": "späß 😀\nline\ttab \\ '", "empty": [], "number": 0.998333},
    ],
)
def test_yaml_is_read_back_as_it_was(value):
    yaml = pytest.importorskip("yaml", reason="PyYAML is not installed: it comes with huggingface_hub")
    assert yaml.safe_load("\n".join(yaml_lines(value))) == value


def card_data(text):
    hub = pytest.importorskip("huggingface_hub", reason="huggingface_hub is not installed (extra `datasets`)")
    return hub.ModelCard(text).data


def test_hugging_face_reads_the_header():
    data = card_data(model_card("mine", META, KNOWN, license_name="cc-by-nc-4.0", datasets=["me/faces"]))
    said = [data.get(key) for key in ("license", "library_name", "pipeline_tag")]
    assert said == ["cc-by-nc-4.0", "arcscale", "image-feature-extraction"]
    assert data.tags == ["face-recognition", "face-verification", "iresnet", "r50"]
    assert (data.datasets, data.metrics, data.model_name) == (["me/faces"], ["accuracy"], "mine")
    results = [(r.task_type, r.dataset_name, r.metric_type, r.metric_value) for r in data.eval_results]
    assert results == [
        ("face-verification", "lfw", "accuracy", 0.998333),
        ("face-verification", "cfp|fp", "accuracy", 0.98),
    ]


def test_what_nobody_said_is_not_in_the_header():
    data = card_data(model_card("mine", META, Origin()))
    assert (data.license, data.datasets, data.metrics, data.eval_results) == ("unknown", None, None, None)


def section(text, title):
    return text.partition(f"\n## {title}\n")[2].partition("\n## ")[0].strip()


def test_what_is_known_stands_in_its_section():
    text = model_card("mine", META, KNOWN, license_name="mit", datasets=["me/faces"], onnx_files=["onnx/a.onnx"])
    assert "| network | `r50`, 43,590,976 parameters |" in text
    assert "| input | RGB, (pixel - 127.5) / 127.5, N x 3 x 112 x 112 |" in text
    assert "`onnx/a.onnx`" in section(text, "Use")
    rows = [line for line in section(text, "Evaluation").splitlines() if line.startswith("|")]
    assert rows[2:] == ["| lfw | 0.9983 | 0.0020 | 6,000 | 0.300 |", "| cfp\\|fp | 0.9800 | – | – | – |"]
    assert "report.json" in section(text, "Evaluation")
    training = section(text, "Training").splitlines()
    assert "- Data: `faces`, 5,179,510 pictures of 93,431 identities" in training
    assert {"- loss: combined", "- margin_list: [1.0, 0.5, 0.0]", "- commit: abc"} <= set(training)
    assert section(text, "License").startswith("`mit`.")


def test_what_is_not_known_is_said_to_be():
    text = model_card("mine", META, Origin())
    assert section(text, "Evaluation") == "Accuracy: not stated."
    training = section(text, "Training").splitlines()
    assert {"- Data: not stated", "- Settings: not stated"} <= set(training)
    assert section(text, "Intended use").startswith("Not stated.")
    assert "not stated" in section(text, "Bias")
    assert section(text, "License").startswith("Not stated.")
    assert "ONNX" not in text
    prose = re.sub("```.*?```", "code", text, flags=re.DOTALL)
    assert "\n\n\n" not in prose
    assert "None" not in prose


@pytest.mark.parametrize(
    ("network", "family"), [("mbf_large", "mobilefacenet"), ("vit_b", "vit"), ("r2060", "iresnet")]
)
def test_the_family_is_a_tag(network, family):
    assert f'  - "{family}"\n  - "{network}"\n' in model_card("mine", META | {"network": network}, Origin())
