"""`launch/poses.py report`: models side by side on people that none has seen, as page, JSON and Markdown."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from launch import poses
from recognition.weights import save_backbone
from tests.commands import run
from tests.generation.posecontrol.small_model import recogniser
from tests.generation.posecontrol.small_set import run as train

pytest.importorskip("torchmetrics")


@pytest.fixture(scope="module")
def models(data, tmp_path_factory):
    out = tmp_path_factory.mktemp("models")
    facts = {"network": "r_tiny", "embedding_size": 32, "image_size": 32}
    save_backbone(out / "r.safetensors", recogniser().network, facts)
    encoder = ("--encoder", "recogniser", "--recogniser", out / "r.safetensors", "--epochs", 1)
    folders = [train(data, out / kind, *encoder, "--generator", kind) for kind in ("spatial", "vector")]
    return [folder / "best_model.pth" for folder in folders]


def test_a_report_of_two_models(data, models, tmp_path, monkeypatch, capfd):
    out = tmp_path / "report"
    words = ("report", *models, "--names", "spatial", "vector", "--data_dir", data, "--people", "all", "--out", out)
    assert run(poses, *words, monkeypatch=monkeypatch) == 0
    said = capfd.readouterr().out
    assert "spatial against copy of the source: " in said
    assert "spatial against vector: " in said
    found = json.loads((out / "report.json").read_text())
    assert found["schema"] == "arcscale.posecontrol.1"
    assert found["facts"]["people"] == 6
    assert list(found["table"]["metrics"]) == ["psnr_db", "ssim", "identity_cos", "pose_error_deg"]
    assert found["gains"] == [line for line in said.splitlines() if " against " in line]
    page = (out / "index.html").read_text()
    assert page.count("<tr><td>all</td><td>24</td>") == 4
    assert "the recogniser that is the first model's encoder" in page.replace("&#39;", "'")
    assert "### SSIM" in (out / "report.md").read_text()
    pixels = np.asarray(Image.open(out / "pictures.png"))
    assert pixels.shape == (4 * 96 + 3 * 4, 8 * 96 + 7 * 4, 3)


def test_the_people_that_were_left_for_a_test(data, models, tmp_path, monkeypatch):
    out = tmp_path / "report"
    words = ("report", models[0], "--data_dir", data, "--out", out)
    assert run(poses, *words, monkeypatch=monkeypatch) == 0
    assert json.loads((out / "report.json").read_text())["facts"]["people"] == 1


def test_another_set_needs_to_be_meant(data, models, tmp_path, monkeypatch, capfd):
    other = shutil.copytree(data, tmp_path / "data")
    for kind in ("front", "video"):
        path = other / f"{kind}_metadata.json"
        path.write_text(path.read_text().replace('"person_name": "p', '"person_name": "q'))
    words = ("report", models[0], "--data_dir", other, "--out", tmp_path / "report")
    assert run(poses, *words, monkeypatch=monkeypatch) == 2
    assert "for another set: --people all" in capfd.readouterr().err


def test_names_must_differ(data, models, tmp_path, monkeypatch, capfd):
    words = ("report", *models, "--data_dir", data, "--out", tmp_path / "report")
    assert run(poses, *words, monkeypatch=monkeypatch) == 2  # both lie in a folder `checkpoints`
    assert "--names" in capfd.readouterr().err
