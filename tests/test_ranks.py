"""The harness itself: results by rank, failures with their traceback, no child left behind, no wait without end."""

import os
import signal
import time

import numpy as np
import pytest
import torch
import torch.distributed as dist

from recognition.errors import InputError
from tests.ranks import RankError, run_ranks


def rank_and_sum(runtime, offset):
    total = torch.tensor([float(runtime.rank + offset)], dtype=torch.float64)
    if runtime.world > 1:
        dist.all_reduce(total)
    return {"rank": runtime.rank, "total": total, "array": np.arange(runtime.rank), "pid": os.getpid()}


@pytest.mark.parametrize("world", [1, 2, 4])
def test_results_come_back_by_rank_and_the_children_are_gone(world):
    results = run_ranks(rank_and_sum, world, 10)
    assert [result["rank"] for result in results] == list(range(world))
    assert all(result["total"].item() == sum(range(10, 10 + world)) for result in results)
    assert [len(result["array"]) for result in results] == list(range(world))
    for result in results:
        with pytest.raises(ProcessLookupError):
            os.kill(result["pid"], 0)


def fail_on_one(runtime):
    if runtime.rank == 1:
        raise InputError("the second rank found a mistake")
    dist.barrier()


def test_the_first_failure_is_raised_again_with_its_traceback():
    with pytest.raises(InputError, match="second rank") as caught:
        run_ranks(fail_on_one, 3)
    assert isinstance(caught.value.__cause__, RankError)
    assert "in fail_on_one" in str(caught.value.__cause__)
    assert "rank 1 of 3" in str(caught.value.__cause__)


def die_on_one(runtime):
    if runtime.rank == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(30)


def test_a_killed_rank_is_a_failure_at_once():
    start = time.monotonic()
    with pytest.raises(RuntimeError, match="rank 0 ended without a result, exit code -9"):
        run_ranks(die_on_one, 2)
    assert time.monotonic() - start < 5


def stand_still(runtime):
    if runtime.rank == 1:
        time.sleep(30)


def test_a_hang_ends_with_the_stack_of_the_rank_that_hangs():
    with pytest.raises(TimeoutError, match=r"ranks \[1\] did not finish within 1 s(.|\n)*in stand_still"):
        run_ranks(stand_still, 2, timeout_s=1)


def test_a_result_that_cannot_travel_says_so():
    with pytest.raises(TypeError, match="cannot be pickled"):
        run_ranks(lambda runtime: lambda: None, 1)
