"""`launch/edits.py report` with every network that it can be given."""

import json

import pytest

from generation.quality import inception
from launch import edits as command
from tests.commands import run as run_command
from tests.generation.stargan.drawn_networks import write_alexnet, write_inception, write_recogniser
from tests.generation.stargan.small_gan import run, write_celeba

SIDE = 32


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("full")
    data = write_celeba(folder / "celeba", 24, side=SIDE)
    return data, run(data, folder, "--image_size", SIDE, "--num_epochs", 1, "--test_size", 8)


def test_every_figure_is_there_and_says_by_what(made, tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(inception, "SIDE", 75)  # the least, for speed
    data, trained = made
    networks = {
        "--inception": write_inception(tmp_path / "inception.pth"),
        "--lpips": write_alexnet(tmp_path / "alexnet.pth"),
        "--recogniser": write_recogniser(tmp_path / "recogniser.safetensors", SIDE),
    }
    judge = tmp_path / "judge.safetensors"
    words = ("judge", data, judge, "--size", SIDE, "--steps", 60, "--test_size", 8)
    assert run_command(command, *words, monkeypatch=monkeypatch) == 0
    given = [word for pair in networks.items() for word in pair]
    words = ("report", trained, "--data", data, "--judge", judge, *given, "--max_pictures", 3)
    assert run_command(command, *words, "--out", tmp_path / "out", monkeypatch=monkeypatch) == 0
    said = capfd.readouterr().out
    assert "n/a" not in said
    assert "Note: FID is of sets of " in said
    found = json.loads((tmp_path / "out" / "report.json").read_text())
    keys = ("fid", "kid", "inception_score", "lpips", "face_fid", "identity_cos", "change_l1", "back_psnr_db")
    assert tuple(found["measures"]) == keys
    for row in (*found["edits"], *found["epochs"]):
        assert all(row["values"][key] is not None for key in keys)
        assert row.get("edit") == "mean" or min(row["pictures"], row["real"]) > 0
    assert all(0 <= row["p"] <= 1 for row in found["edits"] if row["edit"] != "mean")
    for title, network in (("FID", "Inception V3"), ("KID", "Inception V3"), ("LPIPS to the untouched", "AlexNet")):
        assert network in found["facts"][title]
        assert "of other weights than the published" in found["facts"][title]
    text = (tmp_path / "out" / "report.md").read_text()
    assert "| FID | KID | IS | LPIPS to the untouched | face-FID |" in text
    assert "n/a" not in text
    assert "None" not in text.partition("- attributes")[0]
    for path in ("index.html", "report.md"):
        assert "Note: FID is of sets of " in (tmp_path / "out" / path).read_text()


def test_pictures_too_small_for_a_network_are_told_before_anything_is_judged(data, tmp_path, monkeypatch, capfd):
    trained = run(data, tmp_path, "--num_epochs", 1)
    words = ("report", trained, "--data", data, "--lpips", tmp_path / "none.pth", "--out", tmp_path / "out")
    assert run_command(command, *words, monkeypatch=monkeypatch) == 2
    assert "LPIPS needs pictures of 32 pixels or more, not 16" in capfd.readouterr().err
