"""Goal: ranks that torchrun starts again meet again, each time, and restarts that lead nowhere come to an end."""

import json
import re

import pytest

from recognition.checkpoint.folder import listed
from tests.faults.jobs import Job

MANY = ("num_image=400", "max_steps=25", "checkpoint_steps=1", "restart_limit=2")


@pytest.mark.parametrize("restarts", [2, pytest.param(20, marks=[pytest.mark.nightly, pytest.mark.timeout(900)])])
def test_every_restart_joins(tmp_path, restarts):
    """Another rank is killed in each start, and there is a newer checkpoint each time."""
    kills = [f"kill:start={start},rank={start % 2},step={start + 1}" for start in range(restarts)]
    with Job(tmp_path, *MANY, *kills, restarts=restarts) as job:
        assert job.end(timeout_s=60 + 30 * restarts) == 0, job.log
        # Of two ranks that are found dead at once, torchrun names the first.
        assert job.log.count("failed (exitcode:") == restarts
    log = (tmp_path / "run" / "training.log").read_text()
    assert re.findall(r"going on from .*/step-0*(\d+): step", log) == [str(step) for step in range(1, restarts + 1)]
    assert json.loads((tmp_path / "run" / "status.json").read_text())["state"] == "finished"


@pytest.mark.parametrize("limit", [1, pytest.param(3, marks=pytest.mark.nightly)])
def test_restarts_without_a_newer_checkpoint_end_the_job_although_torchrun_would_go_on(tmp_path, limit):
    words = ("checkpoint_steps=2", f"restart_limit={limit}", "boom:start=-1,rank=1,step=3")
    with Job(tmp_path, *words, restarts=limit + 5) as job:
        assert job.end(timeout_s=60 + 30 * limit) != 0, job.log
        starts, log = job.log.count("run directory"), job.log
    # One that found no checkpoint, and after so many restarts with that of step 2 the one that gave up.
    assert starts == 1 + limit + 1
    (line,) = re.findall(r"^\[rank 0\] error: .*giving up.*$", log, re.MULTILINE)
    assert f"restarted {limit} times in a row, the newest checkpoint is still that of step 2; giving up" in line
    assert str(tmp_path / "run") in line
    assert log.count("error: RuntimeError: boom at step 3 on rank 1") == 1 + limit
    assert [entry.step for entry in listed(tmp_path / "run" / "checkpoints")] == [2]
    assert json.loads((tmp_path / "run" / "status.json").read_text())["state"] == "failed"
