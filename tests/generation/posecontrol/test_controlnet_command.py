"""launch/controlnet.py as a user meets it: alone and by torchrun, exit codes, and one line for each mistake."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from launch import controlnet
from tests.commands import launch, run
from tests.conftest import ROOT
from tests.generation.posecontrol.small_set import words


def test_on_two_ranks_by_torchrun(data, tmp_path):
    done = launch("controlnet.py", *words(data, tmp_path, "--batch_size", 2, "--epochs", 1), ranks=2)
    assert done.returncode == 0, done.stderr
    history = json.loads((tmp_path / "checkpoints" / "training_history.json").read_text())
    assert len(history["val"]) == 1
    assert "2 rank(s) on cpu" in (tmp_path / "checkpoints" / "training.log").read_text()


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--data_dir", "/no/such/folder"), ["/no/such/folder", "no folder"]),
        (("--recogniser", "/no/such/run", "--encoder", "recogniser"), ["/no/such/run", "does not exist"]),
        (("--encoder", "recogniser", "--strict_encoder"), ["no recogniser was named", "--recogniser"]),
        (("--image_size", 40), ["image_size=40", "multiple of 16"]),
        (("--pose_dim", 5), ["pose_dim=5"]),
        (("--resume", "/no/such.pth"), ["/no/such.pth", "does not exist"]),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(more, said, data, tmp_path, monkeypatch, capfd):
    assert run(controlnet, *words(data, tmp_path, *more), monkeypatch=monkeypatch) == 2
    lines = [line for line in capfd.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    assert [word for word in said if word not in lines[0]] == []
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_leaves_a_checkpoint_to_go_on_from(data, tmp_path, monkeypatch):
    arguments = words(data, tmp_path, "--epochs", 200)
    command = [sys.executable, str(ROOT / "launch" / "controlnet.py"), *arguments]
    process = subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, stderr=subprocess.PIPE, text=True)
    try:
        deadline = time.monotonic() + 90
        while not (tmp_path / "checkpoints" / "last.pth").is_file() and time.monotonic() < deadline:
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 75
    assert "the same command with --resume auto goes on" in said
    assert "Traceback" not in said
    before = json.loads((tmp_path / "checkpoints" / "training_history.json").read_text())
    more = ("--resume", "auto", "--epochs", len(before["val"]) + 1)
    assert run(controlnet, *words(data, tmp_path, *more), monkeypatch=monkeypatch) == 0
    after = json.loads((tmp_path / "checkpoints" / "training_history.json").read_text())
    assert after["val"][: len(before["val"])] == before["val"]
