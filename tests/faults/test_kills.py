"""Goal: kill -9 of any rank at any step, and the run that is started again ends with the bits of one that was not."""

import json

import pytest

from recognition.checkpoint.folder import listed
from recognition.training.loop import train
from recognition.training.metrics import read_rows
from tests.faults.faults import injected
from tests.faults.jobs import Job
from tests.ranks import run_ranks
from tests.training.small_runs import digests, small
from tests.training.test_resume import losses

STEPS, EVERY = 20, 5
OPTIONS = ("num_image=400", "num_classes=21", f"max_steps={STEPS}", f"checkpoint_steps={EVERY}", "dropout=0.2")
CASES = [(step, rank) for step in (1, 4, 5, 9, 13, 19) for rank in (0, 1)]
SWEEP = [(step, rank, late) for step in range(STEPS) for rank in (0, 1) for late in (0, 1)]


def run(runtime, folder, *faults):
    with injected(faults):
        return train(small(folder, *OPTIONS), runtime)


def outcome(run_dir):
    """All that must not depend on what happened to the run on its way."""
    return digests(run_dir, STEPS), losses(run_dir)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    run_ranks(run, 2, folder)
    tensors, rows = outcome(folder / "run")
    assert len(tensors) == 3
    assert [row[0] for row in rows] == list(range(1, STEPS + 1))
    return tensors, rows


def kill_and_start_again(folder, step, rank, late, undisturbed):
    with pytest.raises(Exception, match=r"exit code -9|Connection (closed|reset)|ended"):
        run_ranks(run, 2, folder, f"kill:rank={rank},step={step},late={late}")
    kept = [entry.step for entry in listed(folder / "run" / "checkpoints")]
    assert max(kept, default=0) == step // EVERY * EVERY
    assert json.loads((folder / "run" / "status.json").read_text())["state"] in ("running", "failed")
    assert [row["step"] for row in read_rows(folder / "run", "train")][:step] == list(range(1, step + 1))
    run_ranks(run, 2, folder)
    assert outcome(folder / "run") == undisturbed
    assert json.loads((folder / "run" / "status.json").read_text())["state"] == "finished"


@pytest.mark.parametrize(("step", "rank"), CASES)
def test_a_rank_that_is_killed_costs_no_bit(tmp_path, step, rank, undisturbed):
    kill_and_start_again(tmp_path, step, rank, 0, undisturbed)


@pytest.mark.nightly
@pytest.mark.parametrize(("step", "rank", "late"), SWEEP)
def test_so_it_is_at_every_step_before_it_and_within_it(tmp_path, step, rank, late, undisturbed):
    kill_and_start_again(tmp_path, step, rank, late, undisturbed)


@pytest.mark.parametrize(
    ("step", "rank"),
    [pytest.param(step, rank, marks=() if (step, rank) == (13, 0) else pytest.mark.nightly) for step, rank in CASES],
)
def test_torchrun_starts_it_again_and_no_bit_is_lost(tmp_path, step, rank, undisturbed):
    with Job(tmp_path, *OPTIONS, f"kill:rank={rank},step={step}", restarts=1) as job:
        assert job.end() == 0, job.log
    assert outcome(tmp_path / "run") == undisturbed
    log = (tmp_path / "run" / "training.log").read_text()
    if step >= EVERY:
        assert f"step-{step // EVERY * EVERY:08d}: step" in log
        assert log.count("run directory") == 2
    else:
        # There was nothing to go on from, and what it had begun is set aside.
        assert log.count("run directory") == 1
        assert (tmp_path / "run.old-1" / "training.log").is_file()
