"""Goal: a rank that stands still ends the others, who say where it stood, and the job goes on without a hand."""

import os
import re
import signal
import time

import pytest

from tests.faults.jobs import Job, steps_logged
from tests.faults.twenty_steps import OPTIONS, outcome

TIMEOUT_S = 10


@pytest.mark.parametrize("rank", [1, pytest.param(0, marks=pytest.mark.nightly)])
def test_a_rank_that_is_stopped_is_named_and_the_run_goes_on(tmp_path, rank, undisturbed):
    slow = tuple(f"slow:rank={slow},seconds=0.3" for slow in (0, 1))
    with Job(tmp_path, *OPTIONS, *slow, f"collective_timeout_s={TIMEOUT_S}", restarts=1) as job:
        job.until_step(7)
        os.kill(job.ranks()[rank], signal.SIGSTOP)
        stopped_s, before, other = time.monotonic(), job.ranks(), 1 - rank
        job.until(lambda: job.ranks().get(other) != before[other], TIMEOUT_S + 5, "end of the rank that waits")
        assert time.monotonic() - stopped_s > TIMEOUT_S - 1
        step = steps_logged(job.run_dir)
        log = job.log
        job.until(lambda: steps_logged(job.run_dir) > step, 60 - (time.monotonic() - stopped_s), "resume")
        assert job.end() == 0, job.log
    (line,) = re.findall(rf"^\[rank {other}\] error: (.*)$", log, re.MULTILINE)
    found = re.fullmatch(
        rf"rank {rank} has not been heard of for \d+\.\d s \(last: step (\d+), (.+)\); (.+) \(step (\d+)\) "
        rf"timed out after {TIMEOUT_S} s; stacks .+",
        line,
    )
    assert found is not None, line
    assert int(found[4]) in (step, step + 1)
    assert step - 10 < int(found[1]) <= step + 1  # as of its last beat, which are a second apart
    assert re.search("all.reduce|all_gather|reduce_scatter", found[3])
    stacks = log if other else (tmp_path / "run" / "training.log").read_text()
    assert re.search(rf"\[rank {other}\] hang: rank {rank} .*\nthread MainThread:\n(.*\n)* .* in train\n", stacks)
    assert outcome(tmp_path / "run") == undisturbed
