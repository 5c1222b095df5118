"""`launch/poses.py report`: models side by side on people that none has seen, as page, JSON and Markdown."""

import base64
import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from generation.posecontrol.checkpoint import read_checkpoint
from generation.posecontrol.evaluation import COPY, REAL, TITLES
from generation.posecontrol.pairs import pairs_of
from generation.posecontrol.pose_judge import train_judge
from generation.posecontrol.pose_set import read_pose_set
from generation.posecontrol.report import _charts
from launch import poses
from recognition.chart import COLOURS
from recognition.weights import load_backbone, save_backbone
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
    assert list(found["table"]["metrics"]) == [
        "psnr_db",
        "ssim",
        "identity_cos",
        "source_identity_cos",
        "pose_error_deg",
    ]
    assert found["warnings"] == [
        f"the model {name} was trained on 4 of these 6 people: its figures flatter it" for name in ("spatial", "vector")
    ]
    assert found["gains"] == [line for line in said.splitlines() if " against " in line]
    page = (out / "index.html").read_text()
    assert page.count("<tr><td>all</td><td>24</td>") == 5
    assert "the recogniser that is the first model's encoder" in page.replace("&#39;", "'")
    assert "whom no model was trained on" not in page
    assert page.count('class="warning"') == 2
    assert page.count("While the models were trained") == 4  # two charts, shown and read out
    assert "### SSIM" in (out / "report.md").read_text()
    pixels = np.asarray(Image.open(out / "pictures.png"))
    assert pixels.shape == (4 * 96 + 3 * 4, 8 * 96 + 7 * 4, 3)


def test_the_people_that_were_left_for_a_test(data, models, tmp_path, monkeypatch):
    out = tmp_path / "report"
    words = ("report", models[0], "--data_dir", data, "--out", out)
    assert run(poses, *words, monkeypatch=monkeypatch) == 0
    found = json.loads((out / "report.json").read_text())
    assert found["facts"]["people"] == 1
    assert found["warnings"] == []
    assert "1 person whom no model was trained on" in (out / "index.html").read_text()
    assert found["gains"][0].endswith(" dB of PSNR of one person.")


def test_a_judge_that_has_seen_who_is_judged_is_named(data, models, tmp_path, monkeypatch, capfd):
    pose_set, judge = read_pose_set(data), tmp_path / "judge.safetensors"
    test = read_checkpoint(models[0])["split"]["test"]
    others = tuple(name for name in pose_set.people() if name not in test)
    for people, noted in ((others, 0), (tuple(test) + others[1:], 1)):
        train_judge(pose_set, people, others[:1], image_size=32, steps=1, seed=0, say=lambda _: None).save(judge)
        words = ("report", models[0], "--data_dir", data, "--pose_judge", judge, "--out", tmp_path / "report")
        assert run(poses, *words, monkeypatch=monkeypatch) == 0
        assert capfd.readouterr().out.count("Note: the judge of poses was trained on 1 of these 1 people") == noted


def test_likeness_by_another_recogniser(data, models, tmp_path, monkeypatch):
    """Of another picture size; its numbers are those that it gives when it is asked directly."""
    facts = {"network": "r_tiny", "embedding_size": 32, "image_size": 48}
    save_backbone(tmp_path / "other.safetensors", recogniser(side=48).network, facts)
    words = ("report", models[0], "--data_dir", data, "--recogniser", tmp_path / "other.safetensors")
    assert run(poses, *words, "--max_pairs", 1, "--out", tmp_path / "report", monkeypatch=monkeypatch) == 0
    found = json.loads((tmp_path / "report" / "report.json").read_text())
    pose_set = read_pose_set(data)
    pairs = pairs_of(pose_set, read_checkpoint(models[0])["split"]["test"])
    paths = pose_set.front.paths[pairs.front_P[0]], pose_set.video.paths[pairs.video_P[0]]
    img01 = torch.stack([torch.from_numpy(np.array(Image.open(path))).permute(2, 0, 1) / 255 for path in paths])
    larger = torch.nn.functional.interpolate(img01, (48, 48), mode="bilinear", antialias=True)
    emb = load_backbone(tmp_path / "other.safetensors")[0](larger * 2 - 1)
    wanted = torch.nn.functional.cosine_similarity(emb[:1], emb[1:]).item()
    makers = found["table"]["bins"][0]["makers"]
    assert makers["copy of the source"]["identity_cos"]["mean"] == pytest.approx(wanted, abs=1e-5)
    assert makers["the target itself"]["source_identity_cos"]["mean"] == pytest.approx(wanted, abs=1e-5)


def test_another_set_needs_to_be_meant(data, models, tmp_path, monkeypatch, capfd):
    other = shutil.copytree(data, tmp_path / "data")
    for kind in ("front", "video"):
        path = other / f"{kind}_metadata.json"
        path.write_text(path.read_text().replace('"person_name": "p', '"person_name": "q'))
    words = ("report", models[0], "--data_dir", other, "--out", tmp_path / "report")
    assert run(poses, *words, monkeypatch=monkeypatch) == 2
    assert "for another set: --people all" in capfd.readouterr().err


def test_a_model_has_one_colour_in_all_charts():
    """Also where another maker has no line: a picture's likeness to itself says nothing."""
    makers = {name: dict.fromkeys(TITLES, {"mean": 1.0}) for name in (COPY, "spatial", "vector", REAL)}
    rows = [{"epoch": 1, "loss": 2.0, "psnr_db": 20.0}, {"epoch": 2, "loss": 1.0, "psnr_db": 21.0}]
    found = {
        "table": {"metrics": TITLES, "bins": [{"yaw_deg": name, "makers": makers} for name in ("all", "0-15")]},
        "histories": {name: {"train": rows, "val": rows} for name in ("spatial", "vector")},
    }
    charts = [base64.b64decode(each["uri"].partition("base64,")[2]).decode() for each in _charts(found)]
    assert len(charts) == len(TITLES) + 2
    drawn = [[place for place, colour in enumerate(COLOURS[:4]) if colour in chart] for chart in charts]
    assert drawn == [[0, 1, 2], [0, 1, 2], [0, 1, 2], [1, 2, 3], [0, 1, 2, 3], [1, 2], [1, 2]]


def test_names_must_differ(data, models, tmp_path, monkeypatch, capfd):
    words = ("report", *models, "--data_dir", data, "--out", tmp_path / "report")
    assert run(poses, *words, monkeypatch=monkeypatch) == 2  # both lie in a folder `checkpoints`
    assert "--names" in capfd.readouterr().err
