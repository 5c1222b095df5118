"""The model folder: it opens as any model does, its snippet runs, its numbers are those of training, and it is safe."""

import json
import re
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from recognition.data.transforms import to_input
from recognition.embedding.models import open_embedder
from recognition.errors import InputError
from recognition.export.hub import preprocessor_config, require_model_folder, write_model_folder
from recognition.export.origin import Evaluation, Origin
from recognition.weights import load_backbone, save_backbone
from tests.conftest import ROOT
from tests.settled import faces, settled_backbone


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A run's weights, loaded as launch/export.py loads them."""
    path = tmp_path_factory.mktemp("someones-run") / "model.safetensors"
    meta = {"network": "mbf_tiny", "embedding_size": 32, "image_size": 112, "step": 9, "accuracy": {"lfw": 0.75}}
    save_backbone(path, settled_backbone("mbf_tiny"), meta)
    return load_backbone(path.parent)


@pytest.fixture(scope="module")
def folder(model, tmp_path_factory):
    out = tmp_path_factory.mktemp("hub") / "my-model"
    (out / "onnx").mkdir(parents=True)
    (out / "config.json").write_text('{"model_type": "arcscale"}')  # an earlier one of ours
    (out / "onnx" / "model.onnx").write_bytes(b"stands for one")
    write_model_folder(out, *model, Origin(evaluations=[Evaluation("lfw", 0.75)], evaluated_by="report.json"))
    return out


def test_the_folder_holds_what_hugging_face_expects(folder):
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    assert names == ["README.md", "config.json", "model.safetensors", "onnx/model.onnx", "preprocessor_config.json"]
    assert "`onnx/model.onnx`" in (folder / "README.md").read_text()


def test_it_opens_as_any_model_does(folder, model):
    module, meta = model
    opened = open_embedder(folder)
    x_BCHW = to_input(torch.from_numpy(faces()[:4]))
    torch.testing.assert_close(opened(x_BCHW), module(x_BCHW), rtol=0, atol=0)
    kept = ("network", "embedding_size", "image_size", "step", "accuracy", "sha256", "params")
    assert {key: opened.facts[key] for key in kept} == {key: meta[key] for key in kept}


def test_nothing_in_it_says_where_it_was_made(folder):
    for path in folder.rglob("*"):
        assert not path.is_file() or b"someones-run" not in path.read_bytes(), path


def test_config_says_what_the_network_is(folder, model):
    assert json.loads((folder / "config.json").read_text()) == {
        "model_type": "arcscale",
        "network": "mbf_tiny",
        "embedding_size": 32,
        "image_size": 112,
        "channel_order": "RGB",
        "mean": 127.5,
        "std": 127.5,
        "params": model[1]["params"],
        "step": 9,
        "sha256": model[1]["sha256"],
    }


def test_the_preprocessor_is_that_of_training(folder):
    stored = json.loads((folder / "preprocessor_config.json").read_text())
    assert (stored["size"], stored["do_resize"], stored["channel_order"]) == (
        {"height": 112, "width": 112},
        False,
        "RGB",
    )
    pixels = faces()[:2].astype(np.float64)
    scaled = (pixels * stored["rescale_factor"] - stored["image_mean"]) / stored["image_std"]
    expected = to_input(torch.from_numpy(faces()[:2])).permute(0, 2, 3, 1)
    np.testing.assert_allclose(scaled, expected, rtol=0, atol=1e-6)
    other = preprocessor_config({"channel_order": "BGR", "image_size": 96, "mean": 0.0, "std": 1.0})
    assert (other["image_mean"], other["image_std"], other["size"]["width"]) == ([0.0] * 3, [1 / 255] * 3, 96)


def test_the_snippet_runs_and_gives_the_cosine(folder, model):
    for name, picture in zip("ab", faces()):
        Image.fromarray(picture).save(folder / f"{name}.jpg", quality=95)
    pictures = [np.array(Image.open(folder / f"{name}.jpg")) for name in "ab"]
    (snippet,) = re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text(), re.DOTALL)
    environment = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", snippet], cwd=folder, env=environment, capture_output=True, text=True, timeout=100
    )
    for name in "ab":
        (folder / f"{name}.jpg").unlink()
    assert done.returncode == 0, done.stderr
    views = [model[0](to_input(torch.from_numpy(np.stack([p, p[:, ::-1]])))).sum(0) for p in pictures]
    expected = float(torch.nn.functional.cosine_similarity(*views, dim=0))
    assert done.stdout == f"cosine {expected:.4f}\n"


def test_hugging_face_loads_the_card(folder):
    hub = pytest.importorskip("huggingface_hub", reason="huggingface_hub is not installed (extra `datasets`)")
    card = hub.ModelCard.load(folder / "README.md")
    said = [card.data.get(key) for key in ("library_name", "license", "model_name")]
    assert said == ["arcscale", "unknown", "my-model"]
    assert [result.metric_value for result in card.data.eval_results] == [0.75]
    assert card.data.to_dict()["pipeline_tag"] == "image-feature-extraction"


def test_a_run_or_another_models_folder_is_not_written_over(tmp_path, model):
    for name, text in (("config.json", '{"rec": "a"}'), ("config.json", "[]"), ("notes.txt", "mine")):
        other = tmp_path / f"{name}-{len(text)}"
        other.mkdir()
        (other / name).write_text(text)
        with pytest.raises(InputError, match="holds other files"):
            write_model_folder(other, *model, Origin())
        assert [path.name for path in other.iterdir()] == [name]
        assert (other / name).read_text() == text
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="is a file"):
        require_model_folder(tmp_path / "file")


@pytest.mark.parametrize("license_name", ["", "CC BY", "mit\nevil: true", "../x"])
def test_a_license_is_an_identifier(tmp_path, license_name):
    with pytest.raises(InputError, match="is no identifier"):
        require_model_folder(tmp_path, license_name)


def test_a_model_folder_can_be_written_again(model, tmp_path):
    write_model_folder(tmp_path / "a", *model, Origin())
    write_model_folder(tmp_path / "a", *model, Origin(), license_name="mit")
    assert 'license: "mit"' in (tmp_path / "a" / "README.md").read_text()
    assert len(list((tmp_path / "a").iterdir())) == 4
