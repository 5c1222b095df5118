"""Goal: asked to stop, all ranks stop at one step, with its checkpoint, and leave nothing behind but a job to go on."""

import json
import re
from signal import SIGTERM, SIGUSR1

import pytest

from recognition.checkpoint.opening import newest_checkpoint
from recognition.runtime import Runtime
from recognition.training.metrics import read_rows
from tests.cluster.fake_slurm import FakeSlurm
from tests.faults.jobs import Job, steps_logged
from tests.faults.twenty_steps import OPTIONS, STEPS, outcome, run
from tests.ranks import run_ranks

# Steps long enough for somebody to stop the run in the middle, and no checkpoint but that of the stop.
SLOW = ("checkpoint_steps=0", *(f"slow:rank={rank},seconds=0.3" for rank in (0, 1)))


@pytest.fixture
def slurm(tmp_path):
    return FakeSlurm(tmp_path / "bin")


def stopped(folder, slurm, signals, *words):
    """Send `signals` to torchrun in the middle of the run; the step at which it stopped, and why."""
    environment = slurm.environment(SLURM_JOB_ID=4711)
    with Job(folder, *OPTIONS, *SLOW, *words, restarts=3, environment=environment) as job:
        job.until_step(3)
        before = steps_logged(job.run_dir)
        for number in signals:
            job.send(number)
            # Two at the same moment reach torchrun in either order, or as one.
            job.until(lambda: f"{signals[0].name}: stopping" in job.log, 30, "word of the signal")
        code, log = job.end(timeout_s=30), job.log
    assert code != 0
    checkpoint = newest_checkpoint(folder / "run" / "checkpoints", Runtime(), pytest.fail)
    steps = [row["step"] for row in read_rows(folder / "run", "train")]
    # Every step that was taken is in the checkpoint, and there were not many more.
    assert steps == list(range(1, checkpoint.step + 1))
    assert before <= checkpoint.step <= before + 3
    status = json.loads((folder / "run" / "status.json").read_text())
    assert (status["state"], status["steps"]) == ("stopped", STEPS)
    for rank in (0, 1):
        assert re.search(
            rf"^\[rank {rank}\] stopped: SIG.* at step {checkpoint.step} of {STEPS}; the same command goes on from the "
            rf"checkpoint of step {checkpoint.step}$",
            log,
            re.MULTILINE,
        )
    return checkpoint.step, status["why"]


@pytest.mark.parametrize(
    ("signals", "words", "calls"),
    [
        ([SIGUSR1], (), 1),
        ([SIGTERM], (), 0),
        ([SIGTERM], ("requeue=always",), 1),
        # Another one while the ranks are about to stop.
        ([SIGUSR1, SIGTERM], (), 1),
    ],
    ids=["usr1", "term", "term always", "usr1 and term"],
)
def test_a_job_that_is_asked_to_stop_stops_at_a_checkpoint_and_goes_on(
    tmp_path, slurm, undisturbed, signals, words, calls
):
    step, why = stopped(tmp_path, slurm, signals, *words)
    assert signals[0].name in why
    assert slurm.calls("scontrol") == [["requeue", "4711"]] * calls
    run_ranks(run, 2, tmp_path)
    assert outcome(tmp_path / "run") == undisturbed
    assert f"step-{step:08d}: step {step} of {STEPS}" in (tmp_path / "run" / "training.log").read_text()
