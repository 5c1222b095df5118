"""Goal: exit code 0 says that the run finished, which it does on any number of ranks, and leaves no process behind."""

import json

import pytest

from tests.faults.jobs import Job

MANY = [pytest.param(ranks, turn, marks=pytest.mark.nightly) for turn in range(1, 13) for ranks in (1, 2, 3, 4)][:46]


@pytest.mark.parametrize(("ranks", "turn"), [(1, 0), (2, 0), (3, 0), (4, 0), *MANY])
def test_a_finished_run_ends_with_0_and_leaves_nothing(tmp_path, ranks, turn):
    with Job(tmp_path, "val_targets=['synthetic']", ranks=ranks) as job:
        assert job.end() == 0, job.log
        assert "terminate called" not in job.log
    assert json.loads((tmp_path / "run" / "status.json").read_text())["state"] == "finished"


@pytest.mark.parametrize(
    ("fault", "state"),
    [
        ("boom:rank=1,step=3", "failed"),
        # In its last step, when the other has all that it needs of it.
        pytest.param("kill:rank=1,step=3,late=1", "failed", marks=pytest.mark.nightly),
        pytest.param("boom:rank=0,step=2", "failed", marks=pytest.mark.nightly),
        pytest.param("kill:rank=0,step=2", "running", marks=pytest.mark.nightly),
    ],
)
def test_a_rank_that_fails_fails_the_job(tmp_path, fault, state):
    with Job(tmp_path, fault) as job:
        assert job.end() not in (0, None), job.log
    assert json.loads((tmp_path / "run" / "status.json").read_text())["state"] == state
    assert not (tmp_path / "run" / "report").exists()
