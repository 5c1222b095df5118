"""`launch/poses.py check`: what is in a set, by bins, and what is wrong with it."""

import json
import shutil

from launch import poses
from tests.commands import run


def test_it_counts(data, tmp_path, monkeypatch, capfd):
    assert run(poses, "check", data, "--json", tmp_path / "facts.json", monkeypatch=monkeypatch) == 0
    facts = json.loads((tmp_path / "facts.json").read_text())
    assert {key: facts[key] for key in ("people", "sources", "targets", "pairs")} == {
        "people": 6,
        "sources": 6,
        "targets": 24,
        "pairs": 24,
    }
    # Yaws of -50, -20, 25 and 60 degrees.
    assert facts["pairs_by_yaw_of_the_target"] == {"15-30": 12, "45-60": 6, "60-75": 6}
    assert "6 people, 6 sources, 24 targets, 24 pairs" in capfd.readouterr().out


def test_a_damaged_picture_is_named(data, tmp_path, monkeypatch, capfd):
    folder = shutil.copytree(data, tmp_path / "set")
    path = folder / "video" / "p1_2.png"
    path.write_bytes(path.read_bytes()[:50])
    assert run(poses, "check", folder, monkeypatch=monkeypatch) == 2
    assert "p1_2.png cannot be decoded" in capfd.readouterr().err
