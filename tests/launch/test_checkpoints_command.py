"""launch/checkpoints.py as a user meets it."""

import re
import shlex
import sys

import pytest

from launch import checkpoints
from launch import train as train_command
from recognition.checkpoint import CheckpointStore
from recognition.command import run_command
from recognition.errors import InputError
from recognition.training.metrics import read_rows
from tests.checkpoint.arcface_torch_run import SIZE, ArcfaceTorchRun, D
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


THEIR_CONFIG = f"""
from easydict import EasyDict as edict
config = edict()
config.rec, config.num_classes, config.num_image, config.image_size = "synthetic", 10, 80, {SIZE}
config.network, config.embedding_size, config.batch_size, config.resume = "r_tiny", {D}, 4, False
config.val_targets, config.device, config.num_epoch, config.export_onnx = [], "cpu", 1, False
"""


@pytest.fixture
def theirs(tmp_path):
    """A folder with a config of theirs, and the files of two ranks after 2 steps of 8 images."""
    (tmp_path / "theirs.py").write_text(THEIR_CONFIG)
    ArcfaceTorchRun(2).train().save(tmp_path / "set")
    return tmp_path


def test_a_run_is_imported_and_the_printed_command_goes_on_with_it(theirs, output, monkeypatch):
    out = theirs / "my run"
    overrides = ("notes=a b", "wandb_key=secret")
    text = output("import", theirs / "set", "--config", theirs / "theirs.py", "--out", out, *overrides)
    found, written, command = text.splitlines()
    assert found.startswith(f"{theirs / 'set'}: 2 rank(s) at step 2; with batch_size=4 each has seen its share of 16")
    assert written == f"{out / 'checkpoints' / 'step-00000002'}: written"
    begin = "go on with: launch/train.py "
    assert command.startswith(begin)
    words = shlex.split(command.removeprefix(begin))
    assert words == [str(theirs / "theirs.py"), "notes=a b", f"output={out}", "resume=auto"]
    monkeypatch.setattr(sys, "argv", ["train.py", *words, "max_steps=6", "frequent=1", "using_tensorboard=False"])
    train_command.main()
    # On one rank a step is half of one there: the 16 images seen are four.
    assert [(row["step"], row["samples"]) for row in read_rows(out, "train")] == [(5, 20), (6, 24)]


def test_mistakes_in_an_import_are_one_line_and_leave_nothing(theirs, monkeypatch, capfd):
    place = ("import", theirs / "set", "--config", theirs / "theirs.py", "--out", theirs / "run")
    for words, message in [
        ((*place, "optimizer=adamw"), "was trained by sgd"),
        ((*place, "network=r18"), "does not fit network 'r18'"),
        ((*place, "rec=None"), "rec is not set"),
        ((*place, "lr"), "unrecognized arguments: lr"),
        ((*place, "--lr=1"), "unrecognized arguments: --lr=1"),
        (("list", theirs, "lr=1"), "unrecognized arguments: lr=1"),
    ]:
        monkeypatch.setattr(sys, "argv", ["checkpoints.py", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            run_command(checkpoints.main)
        last = capfd.readouterr().err.splitlines()[-1]
        assert ended.value.code == 2
        assert "error: " in last
        assert message in last
        assert not (theirs / "run").exists()
