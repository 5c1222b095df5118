"""Every way to make the host wait is counted once, where it is called; what does not wait is not counted."""

from __future__ import annotations

import pytest
import torch
import torch.distributed as dist

from recognition.benchmarks.counting import Counts
from recognition.collectives import all_gather, all_reduce_sum, reduce_scatter_sum
from tests.ranks import run_ranks

X = torch.arange(6.0)
WAITING = {
    "item": lambda x: x[0].item(),
    "float": lambda x: float(x[1]),
    "if": lambda x: bool((x > 3).any()),
    "0-dim index": lambda x: x[x.argmax()],
    "tolist": lambda x: x.tolist(),
    "cpu": lambda x: x.cpu().numpy(),
    "to cpu": lambda x: x.to("cpu"),
    "nonzero": lambda x: torch.nonzero(x),
    "where": lambda x: torch.where(x > 3),
    "mask": lambda x: x[x > 3],
    "assignment by mask": lambda x: x.clone().__setitem__(x > 3, torch.zeros(2)),
    "masked_select": lambda x: x.masked_select(x > 3),
    "unique": lambda x: torch.unique(x),
    "equal": lambda x: torch.equal(x, x + 1),
    "repeats": lambda x: torch.repeat_interleave(x, torch.arange(6)),
}
FREE = {
    "index by numbers": lambda x: x[torch.tensor([1, 2])],
    "slice": lambda x: x[2:4].clone(),
    "where of three": lambda x: torch.where(x > 3, x, 0),
    "masked_fill": lambda x: x.masked_fill(x > 3, 0),
    "to dtype": lambda x: x.to(torch.float64),
    "sort": lambda x: torch.sort(x),
    "searchsorted": lambda x: torch.searchsorted(x, x),
}


@pytest.mark.parametrize("name", WAITING)
def test_a_read_is_counted_once(name):
    with Counts() as counts:
        WAITING[name](X)
    assert counts.host_reads.total() == 1, counts.host_reads
    assert "in test_counting.py:" in next(iter(counts.host_reads))


@pytest.mark.parametrize("name", FREE)
def test_work_on_the_device_is_not(name):
    with Counts() as counts:
        FREE[name](X)
    assert not counts.host_reads


class ReadsInBackward(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.sum()

    @staticmethod
    def backward(ctx, grad):
        return torch.full((6,), grad.item())


def test_a_read_in_backward_is_counted():
    x = X.clone().requires_grad_()
    with Counts() as counts:
        ReadsInBackward.apply(x).backward()
    assert counts.host_reads.total() == 1
    X[0].item()
    assert counts.host_reads.total() == 1  # not outside the block


def test_what_is_on_the_host_in_any_run_may_be_read():
    on_host, elsewhere = torch.arange(3), torch.arange(3)
    with Counts(host=[on_host]) as counts:
        on_host.cpu().numpy(), on_host[1:].tolist()
        assert not counts.host_reads
        elsewhere.tolist()
    assert counts.host_reads.total() == 1


def collectives(runtime):
    x = torch.ones(2, 3)
    with Counts() as counts:
        reduce_scatter_sum(x, runtime)
        all_gather(x, runtime)
        all_reduce_sum(x, runtime)
        work = dist.reduce(x.detach(), dst=0, async_op=True)
        work.wait()
        dist.all_gather([torch.empty(2, 3) for _ in range(runtime.world)], x.detach())
    return counts.collectives.total()


def test_collectives_are_counted_however_they_are_called():
    assert run_ranks(collectives, 2) == [5, 5]
