"""The commands of demonstrations: shown as a user types them, and the end of it where one fails."""

import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from recognition import demonstration
from recognition.errors import InputError
from tests.conftest import ROOT


@pytest.fixture
def scripts(tmp_path, monkeypatch):
    """A folder of scripts in the place of launch/."""
    monkeypatch.setattr(demonstration, "LAUNCH", tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_command_that_fails_ends_the_demonstration(scripts, capfd):
    (scripts / "fail.py").write_text("raise SystemExit(3)")
    with pytest.raises(InputError, match="exit code 3"):
        demonstration.command("fail.py", "two words", 1)
    assert capfd.readouterr().out == "$ python fail.py 'two words' 1\n"  # as a user would type it


def test_a_command_that_succeeds_has_one_thread_unless_the_user_says_otherwise(scripts, capfd, monkeypatch):
    (scripts / "show.py").write_text(
        "import os, sys; print(os.environ['OMP_NUM_THREADS'], os.environ['MINE'], *sys.argv[1:])"
    )
    monkeypatch.setenv("MINE", "kept")
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    demonstration.command("show.py", "a b")
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    demonstration.command("show.py")
    assert [line for line in capfd.readouterr().out.splitlines() if line[0] != "$"] == ["1 kept a b", "5 kept"]


def test_several_ranks_go_through_torchrun(scripts, capsys, monkeypatch):
    ran = []
    monkeypatch.setattr(
        subprocess, "run", lambda words, **_: ran.append(words) or subprocess.CompletedProcess(words, 0)
    )
    demonstration.command("train.py", "lr=0.1", ranks=2)
    demonstration.command("train.py", "lr=0.1")
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    assert ran == [[sys.executable, *torchrun, "train.py", "lr=0.1"], [sys.executable, "train.py", "lr=0.1"]]
    first, second = capsys.readouterr().out.splitlines()
    assert shlex.split(first) == ["$", "torchrun", *torchrun[2:], "train.py", "lr=0.1"]
    assert second == "$ python train.py lr=0.1"


def test_a_module_is_shown_and_run_as_one(scripts, capfd):
    (scripts / "hello.py").write_text("import sys; print('hello', *sys.argv[1:])")
    demonstration.command("-m", "hello", 1)
    assert capfd.readouterr().out == "$ python -m hello 1\nhello 1\n"


def test_groups_run_at_once_and_their_commands_in_turn(scripts, capfd):
    # Each waits for the other's file: one after the other they would wait for ever.
    (scripts / "meet.py").write_text(
        "import pathlib, sys, time\n"
        "own, other = map(pathlib.Path, sys.argv[1:])\n"
        "own.touch()\n"
        "while not other.exists(): time.sleep(0.01)\n"
        "print('met', other)\n"
    )
    (scripts / "after.py").write_text("print('after')")
    demonstration.side_by_side(left=[("meet.py", "a", "b"), ("after.py",)], right=[("meet.py", "b", "a")])
    lines = capfd.readouterr().out.splitlines()
    assert [line for line in lines if line.startswith("[left]")] == [
        "[left] $ python meet.py a b",
        "[left] met b",
        "[left] $ python after.py",
        "[left] after",
    ]
    assert [line for line in lines if line.startswith("[right]")] == ["[right] $ python meet.py b a", "[right] met a"]


def test_where_one_group_fails_the_others_are_ended(scripts):
    (scripts / "fail.py").write_text(
        "import pathlib, time\nwhile not pathlib.Path('ready').exists(): time.sleep(0.01)\nraise SystemExit(3)"
    )
    # Ended, it says that all is well: the next of its group must not begin.
    (scripts / "long.py").write_text(
        "import signal, sys, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))\n"
        "open('ready', 'w')\n"
        "time.sleep(600)"
    )
    (scripts / "never.py").write_text("open('never', 'w')")
    started = time.monotonic()
    with pytest.raises(InputError, match=r"\[bad\] python fail.py ended with exit code 3"):
        demonstration.side_by_side(good=[("long.py",), ("never.py",)], bad=[("fail.py",)])
    assert time.monotonic() - started < 60
    assert not (scripts / "never").exists()


def test_ctrl_c_ends_what_the_commands_started_too(scripts):
    """A grandchild that holds the output open must not keep the demonstration waiting."""
    (scripts / "parent.py").write_text(
        "import pathlib, subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        "pathlib.Path('child.partial').write_text(str(child.pid))\n"
        "pathlib.Path('child.partial').rename('child')\n"
        "time.sleep(600)"
    )
    (scripts / "demo.py").write_text(
        "import pathlib\n"
        "from recognition import demonstration\n"
        f"demonstration.LAUNCH = pathlib.Path({str(scripts)!r})\n"
        "demonstration.side_by_side(one=[('parent.py',)], two=[('parent.py',)])"
    )
    process = subprocess.Popen(
        [sys.executable, "demo.py"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    started = time.monotonic()
    while not (scripts / "child").exists():
        assert time.monotonic() - started < 60
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    child = int((scripts / "child").read_text())
    deadline = time.monotonic() + 20
    while is_running(child):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def is_running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_lines_of_groups_stay_whole(scripts, capfd):
    (scripts / "many.py").write_text("for number in range(2000): print(number, flush=True)")
    demonstration.side_by_side(left=[("many.py",)], right=[("many.py",)])
    lines = capfd.readouterr().out.splitlines()
    for name in ("left", "right"):
        of_group = [line for line in lines if line.startswith(f"[{name}] ")]
        assert of_group == [f"[{name}] $ python many.py", *(f"[{name}] {number}" for number in range(2000))]
    assert len(lines) == 2 * 2001
