"""The run that nothing happens to, once for all tests."""

import pytest

from tests.faults.twenty_steps import STEPS, outcome, run
from tests.ranks import run_ranks


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory):
    """Its outcome, on two ranks."""
    folder = tmp_path_factory.mktemp("undisturbed")
    run_ranks(run, 2, folder)
    tensors, rows = outcome(folder / "run")
    assert len(tensors) == 3
    assert [row[0] for row in rows] == list(range(1, STEPS + 1))
    return tensors, rows
