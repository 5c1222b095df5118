"""launch/checkpoints.py as a user meets it."""

import re
import sys

import pytest

from launch import checkpoints
from recognition.checkpoint import CheckpointStore
from recognition.errors import InputError
from tests.checkpoint.small_checkpoints import LONE, save
from tests.commands import launch


@pytest.fixture
def run_directory(tmp_path):
    with CheckpointStore(tmp_path / "run" / "checkpoints", LONE) as store:
        for step in (10, 20):
            save(store, step, count=1_000_000, is_best=step == 10)
    return tmp_path / "run"


@pytest.fixture
def output(monkeypatch, capsys):
    """Runs the command with these arguments; its output."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["checkpoints.py", *map(str, arguments)])
        checkpoints.main()
        return capsys.readouterr().out

    return run


@pytest.mark.parametrize("place", [".", "checkpoints"])
def test_a_table_of_checkpoints(run_directory, output, place):
    head, first, second = output("list", run_directory / place).splitlines()
    assert head.split() == ["step", "MB", "ranks", "written", "(UTC)", "best", "files"]
    assert re.fullmatch(r" +10 +4\.0 +1  20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d  best  3 complete", first)
    assert re.fullmatch(r" +20 +4\.0 +1  20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d        3 complete", second)


def test_the_table_says_what_is_incomplete(run_directory, output):
    (run_directory / "checkpoints" / "step-00000020" / "state.json").unlink()
    _, first, second = output("list", run_directory).splitlines()
    assert first.endswith("3 complete")
    assert re.match(r" +20  .*step-00000020/state\.json cannot be read: No such file", second)


def test_every_byte_is_verified(run_directory, capsys, output):
    assert output("verify", run_directory) == "step-00000010: sound, 4.0 MB\nstep-00000020: sound, 4.0 MB\n"
    file = run_directory / "checkpoints" / "step-00000010" / "rank-0.safetensors"
    data = file.read_bytes()
    file.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(InputError, match="1 of 2 checkpoints are damaged"):
        output("verify", run_directory)
    damaged, sound = capsys.readouterr().out.splitlines()
    assert damaged.startswith(f"step-00000010: {file} is damaged")
    assert sound.startswith("step-00000020: sound")


def test_a_folder_without_checkpoints_is_one_line_and_exit_code_2(tmp_path):
    result = launch("checkpoints.py", "list", tmp_path)
    assert result.returncode == 2
    assert result.stderr == f"error: {tmp_path} holds no checkpoints; give a run directory or its checkpoints/ folder\n"
