"""Goal: the disk of a run fills up while it trains: it goes on, or stops, as `checkpoint_error` says."""

import json
import os
import re
import subprocess
import sys

import pytest

from recognition.checkpoint.opening import newest_checkpoint
from recognition.errors import Stopped
from recognition.runtime import Runtime
from tests.faults.jobs import Job
from tests.faults.twenty_steps import OPTIONS, STEPS, outcome, run
from tests.ranks import run_ranks

# Between these steps metrics.jsonl needs another block of the disk, too.
FULL_AT, FREE_AT = "fill:rank=0,step=12", "free:rank=0,step=17"


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 16 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", folder], capture_output=True).returncode:
        pytest.skip("needs the right to mount a file system")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def test_a_run_whose_disk_is_full_for_a_while_ends_as_if_it_had_not_been(small_disk, undisturbed):
    run_ranks(run, 2, small_disk, FULL_AT, FREE_AT)
    assert outcome(small_disk / "run") == undisturbed
    log = (small_disk / "run" / "training.log").read_text()
    assert re.findall(r"checkpoint of step (\d+) not written", log) in ([], ["15"])  # it is not for the log itself
    assert re.findall(r"checkpoint: .*/step-0*(\d+) ", log) == ["5", "10", "20"]
    assert json.loads((small_disk / "run" / "status.json").read_text())["state"] == "finished"


def test_a_run_that_ends_while_its_disk_is_full_goes_on_from_the_checkpoint_before(small_disk, undisturbed):
    with pytest.raises(RuntimeError):
        run_ranks(run, 2, small_disk, FULL_AT, "boom:rank=1,step=16")
    assert newest_checkpoint(small_disk / "run" / "checkpoints", Runtime(), pytest.fail).step == 10
    (small_disk / "filler").unlink()
    run_ranks(run, 2, small_disk)
    assert outcome(small_disk / "run") == undisturbed


def test_a_run_that_is_to_stop_says_where_and_how_many_bytes(small_disk, tmp_path):
    with Job(small_disk, *OPTIONS, FULL_AT, "checkpoint_error=stop", log_folder=tmp_path) as job:
        assert job.end() != 0
        log = job.log
    for rank in (0, 1):
        lines = re.findall(rf"^\[rank {rank}\] error: (.*)$", log, re.MULTILINE)
        assert len(lines) == 1
        assert re.search(
            rf"checkpoint of step 15 .*needs (\d+) bytes and \d+ are free in {small_disk / 'run' / 'checkpoints'}",
            lines[0],
        )
    assert re.search(r'File ".*/recognition/', log) is None  # torchrun shows a traceback, of its own
    assert newest_checkpoint(small_disk / "run" / "checkpoints", Runtime(), pytest.fail).step == 10


def run_unheard(runtime, folder, *faults):
    """A run whose console is a file on a full disk; what it ended with."""
    with open("/dev/full", "w") as full:
        for number in (1, 2):
            os.dup2(full.fileno(), number)
    sys.stdout, sys.stderr = (os.fdopen(number, "w", buffering=1, closefd=False) for number in (1, 2))
    try:
        run(runtime, folder, *faults)
    except Stopped as stopped:
        return str(stopped)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="Linux has it")
def test_a_console_on_a_full_disk_keeps_no_run_from_ending_well(tmp_path):
    (said, _) = run_ranks(run_unheard, 2, tmp_path, "usr1:rank=0,step=2")
    # It came when the wishes for the third step were with the vote already.
    assert said == f"SIGUSR1 at step 4 of {STEPS}; the same command goes on from the checkpoint of step 4"
    assert run_ranks(run_unheard, 2, tmp_path) == [None, None]
    assert json.loads((tmp_path / "run" / "status.json").read_text())["state"] == "finished"
