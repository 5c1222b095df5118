"""How commands end, seen from outside: exit code, one line on stderr, the traceback where it belongs."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.conftest import ROOT

START = """
import os, signal, sys, time
from pathlib import Path
from recognition.command import run_command
from recognition.errors import GivingUp, InputError, PeerEnded, PeerLost, Stopped
from recognition.log import LOG, start_log

def main():
"""
LAUNCHER = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "TORCHELASTIC_RESTART_COUNT")


def end(*body: str, rank: int = 0, world: int = 1, cwd: Path = ROOT):
    """Run a command with that body in a process of its own; (exit code, stdout, stderr)."""
    source = START + textwrap.indent("\n".join(body), "    ") + "\n\nrun_command(main)\n"
    # A user's Python buffers what it prints into a pipe; one told not to would hide output that is lost.
    environment = {key: value for key, value in os.environ.items() if key not in (*LAUNCHER, "PYTHONUNBUFFERED")}
    environment |= {"PYTHONPATH": str(ROOT)}
    environment |= {"RANK": str(rank), "WORLD_SIZE": str(world)} if world > 1 else {}
    done = subprocess.run(
        [sys.executable, "-c", source], capture_output=True, text=True, timeout=60, cwd=cwd, env=environment
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("world", [1, 2])
def test_success_is_0_and_nothing_printed_is_lost(world):
    assert end("print('done', end='')", world=world) == (0, "done", "")


def test_output_that_cannot_be_delivered_does_not_change_the_code():
    body = ("print('lost')", "os.close(1)", "raise InputError('too long')")
    assert end(*body, world=2) == (2, "", "[rank 0] error: too long\n")


@pytest.mark.parametrize(
    ("body", "code", "line"),
    [
        ("raise InputError('a.rec: key 3 is\\n   cut short')", 2, "error: a.rec: key 3 is cut short"),
        ("open('absent/file')", 2, "error: No such file or directory: absent/file"),
        ("raise OSError(28, 'No space left on device')", 2, "error: [Errno 28] No space left on device"),
        ("raise KeyboardInterrupt", 130, "stopped: interrupted; files that were complete stay as they are"),
        ("os.kill(os.getpid(), signal.SIGINT); time.sleep(9)", 130, "stopped: interrupted; files"),
        ("os.kill(os.getpid(), signal.SIGTERM); time.sleep(9)", 143, "stopped: SIGTERM: the job was ended, or another"),
        ("raise Stopped('SIGUSR1: checkpoint of step 7')", 75, "stopped: SIGUSR1: checkpoint of step 7\n"),
        ("raise GivingUp('restarted 3 times')", 2, "error: restarted 3 times\n"),
        ("raise PeerLost('rank 1 has not been heard of')", 1, "error: rank 1 has not been heard of\n"),
        ("raise PeerEnded('rank 1 ended')", 1, "stopped: rank 1 ended; its own message says why\n"),
        ("raise RuntimeError('[gloo/pair.cc:525] Connection closed by peer')", 1, "stopped: another rank ended first"),
        ("raise RuntimeError('NCCL: remote process exited or')", 1, "stopped: another rank ended first"),
    ],
)
@pytest.mark.parametrize("log", [False, True])
@pytest.mark.parametrize(("world", "label"), [(1, ""), (4, "[rank 3] ")])
def test_what_can_be_foreseen_is_one_line_and_its_code(tmp_path, body, code, line, log, world, label):
    start = "start_log(Path('.'))" if log else "pass"
    found, out, err = end(start, "print('begun')", body, rank=3, world=world, cwd=tmp_path)
    assert (found, out) == (code, "begun\n")
    assert err.startswith(label + line)
    assert err.count("\n") == 1
    if log:
        written = (tmp_path / "training.log").read_text()
        assert written.startswith(err)
        assert ("Traceback" in written) == ("SIGTERM" not in body)  # a signal is no exception
        assert "NoneType" not in written


@pytest.mark.parametrize(("world", "label"), [(1, ""), (2, "[rank 1] ")])
def test_the_unforeseen_is_one_line_that_says_where_its_traceback_is(tmp_path, world, label):
    code, _, err = end("start_log(Path('.'))", "[][3 // \\\n1]", rank=1, world=world, cwd=tmp_path)
    log = tmp_path / "training.log"
    assert (code, err) == (1, f"{label}error: IndexError: list index out of range (traceback in {log})\n")
    lines = log.read_text().splitlines()
    assert lines[0] == err.strip()
    assert lines[1].startswith("Traceback")
    assert lines[-1] == "IndexError: list index out of range"


def test_the_unforeseen_without_a_log_shows_its_traceback():
    code, _, err = end("raise ZeroDivisionError('by\\nzero')")
    assert code == 1
    assert err.startswith("Traceback")
    assert err.endswith("\nerror: ZeroDivisionError: by zero\n")
    assert "traceback in" not in err


def test_a_log_that_is_closed_already_hides_nothing(tmp_path):
    start = ("start_log(Path('.'))", "LOG.handlers[-1].close()")
    assert end(*start, "raise InputError('too long')", cwd=tmp_path)[::2] == (2, "error: too long\n")
    code, _, err = end(*start, "raise ValueError('odd')", cwd=tmp_path)
    assert (code, err.splitlines()[-1]) == (1, "error: ValueError: odd")


def test_an_exception_without_words_is_named():
    assert end("raise InputError")[2] == "error: InputError\n"


def test_argparse_keeps_its_own_exit():
    assert end("sys.exit('usage: ...')") == (1, "", "usage: ...\n")
    assert end("sys.exit(2)") == (2, "", "")


FULL = ["class Full:", "    def write(*_): raise OSError(28, 'No space left on device')", "    flush = close = write"]


@pytest.mark.parametrize(
    ("body", "code", "line"),
    [
        ("raise InputError('too long')", 2, "error: too long"),
        ("raise ValueError('odd')", 1, "error: ValueError: odd"),
        ("os.kill(os.getpid(), signal.SIGTERM); time.sleep(9)", 143, "stopped: SIGTERM"),
    ],
)
def test_a_log_on_a_full_disk_hides_neither_the_line_nor_the_code(tmp_path, body, code, line):
    start = ["start_log(Path('.'))", *FULL, "LOG.handlers[-1].stream = Full()"]
    found, _, err = end(*start, body, cwd=tmp_path)
    assert found == code, err
    assert [text for text in err.splitlines() if text.startswith(line)] != []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full, the device that is always full, here")
def test_a_really_full_disk_too(tmp_path):
    (tmp_path / "training.log").symlink_to("/dev/full")
    found, _, err = end("start_log(Path('.'))", "LOG.info('begun')", "raise InputError('too long')", cwd=tmp_path)
    assert (found, err) == (2, "error: too long\n")


AGENT = """
import os, signal, subprocess, sys
signal.signal(signal.SIGTERM, lambda *_: print("told to end", flush=True))
subprocess.run([sys.executable, "-c", sys.argv[1]])
"""


@pytest.mark.parametrize(
    ("name", "variables", "error", "told"),
    [
        ("torchrun", {}, "GivingUp", "told to end\n"),
        ("torchrun", {"LOCAL_RANK": "1"}, "GivingUp", ""),  # one rank of a machine is enough
        ("torchrun", {}, "InputError", ""),
        ("run.py", {}, "GivingUp", ""),
    ],
)
def test_torchrun_alone_is_told_that_another_restart_is_useless(tmp_path, name, variables, error, told):
    (tmp_path / name).write_text(AGENT)
    body = START + f"    raise {error}('3 restarts')\n\nrun_command(main)\n"
    environment = {key: value for key, value in os.environ.items() if key not in LAUNCHER}
    environment |= {"PYTHONPATH": str(ROOT), "TORCHELASTIC_RUN_ID": "a", "RANK": "2", "WORLD_SIZE": "4"} | variables
    command = [sys.executable, str(tmp_path / name), body]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment)
    assert (done.stdout, done.stderr) == (told, "[rank 2] error: 3 restarts\n")


def test_a_parent_that_only_looks_like_torchrun_is_left_alone(tmp_path):
    (tmp_path / "torchrun").write_text(AGENT)
    body = START + "    raise GivingUp('3 restarts')\n\nrun_command(main)\n"
    environment = {key: value for key, value in os.environ.items() if not key.startswith("TORCHELASTIC")}
    command = [sys.executable, str(tmp_path / "torchrun"), body]
    environment |= {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment)
    assert (done.stdout, done.stderr) == ("", "error: 3 restarts\n")
