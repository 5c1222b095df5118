"""Collectives: their values on 1 to 3 ranks, and the names under which a report of a hang tells of them."""

import dataclasses
from contextlib import contextmanager

import pytest
import torch

from recognition.collectives import (
    all_gather,
    all_reduce_max,
    all_reduce_mean,
    all_reduce_sum,
    gather_text,
    reduce_scatter_sum,
)
from tests.ranks import run_ranks

WORLDS = [1, 2, 3]


def values(runtime):
    rows = torch.full((2, 3), float(runtime.rank))
    labels = torch.tensor([runtime.rank, 10 + runtime.rank])
    cases = {
        "rows": all_gather(rows, runtime),
        "scattered": reduce_scatter_sum(torch.arange(4.0 * runtime.world).reshape(-1, 2) + runtime.rank, runtime),
        "strided": all_gather(torch.arange(6.0).reshape(3, 2).t() + runtime.rank, runtime),
        "labels": all_gather(labels, runtime),
        "sum": all_reduce_sum(rows, runtime),
        "mean": all_reduce_mean(rows, runtime),
        "max": all_reduce_max(-rows, runtime),
        "argument": rows,
    }
    return cases


@pytest.mark.parametrize("world", WORLDS)
def test_values_are_equal_on_all_ranks_and_arguments_stay(world):
    ranks = torch.arange(float(world))
    for rank, cases in enumerate(run_ranks(values, world)):
        assert torch.equal(cases["rows"], ranks.repeat_interleave(2)[:, None].expand(-1, 3))
        strided = [torch.arange(6.0).reshape(3, 2).t() + other for other in range(world)]
        assert torch.equal(cases["strided"], torch.cat(strided))
        assert cases["labels"].tolist() == [label for other in range(world) for label in (other, 10 + other)]
        assert torch.equal(cases["sum"], torch.full((2, 3), sum(range(world))))
        whole = world * torch.arange(4.0 * world).reshape(-1, 2) + sum(range(world))
        assert torch.equal(cases["scattered"], whole.chunk(world)[rank])
        assert torch.equal(cases["mean"], torch.full((2, 3), (world - 1) / 2))
        assert torch.equal(cases["max"], torch.zeros(2, 3))
        assert torch.equal(cases["argument"], torch.full((2, 3), float(rank)))


class Listener:
    """In place of a heartbeat: the names that it was told."""

    def __init__(self):
        self.names = []

    @contextmanager
    def collective(self, name):
        self.names.append(name)
        yield


def names_told(runtime):
    listener = Listener()
    runtime = dataclasses.replace(runtime, heartbeat=listener)
    rows = torch.ones(2, 3)
    all_gather(rows, runtime, what="embeddings")
    reduce_scatter_sum(rows, runtime, what="sums")
    all_reduce_sum(rows, runtime, what="gradients")
    all_reduce_mean(rows, runtime, what="statistics")
    all_reduce_max(rows, runtime, what="a flag")
    gather_text("é", runtime, what="reports")
    all_gather(rows, runtime)
    runtime.barrier()
    return listener.names


def test_every_collective_is_told_by_its_name_and_what_is_sent():
    for names in run_ranks(names_told, 2):
        assert names == [
            "all_gather of embeddings",
            "reduce_scatter of sums",
            "all_reduce of gradients",
            "all_reduce of statistics",
            "all_reduce of a flag",
            *["all_gather of reports"] * 2,
            "all_gather of rows",
            "barrier",
        ]
