"""Collectives: their values on 1 to 3 ranks, and the two gradient rules against a computation on one process."""

import pytest
import torch

from recognition.collectives import (
    all_gather,
    all_reduce_max,
    all_reduce_mean,
    all_reduce_sum,
    gather_rows,
)
from tests.ranks import run_ranks

WORLDS = [1, 2, 3]


def values(runtime):
    rows = torch.full((2, 3), float(runtime.rank))
    labels = torch.tensor([runtime.rank, 10 + runtime.rank])
    cases = {
        "rows": gather_rows(rows, runtime),
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
        assert torch.equal(cases["mean"], torch.full((2, 3), (world - 1) / 2))
        assert torch.equal(cases["max"], torch.zeros(2, 3))
        assert torch.equal(cases["argument"], torch.full((2, 3), float(rank)))


def gradients(runtime, x_GD, weights_WGD):
    """One loss shared by all ranks: sum over ranks of f_r(x), squared."""
    x_BD = x_GD.chunk(runtime.world)[runtime.rank].clone().requires_grad_()
    scale = torch.tensor(1.0 + runtime.rank, dtype=x_GD.dtype, requires_grad=True)
    part = scale * (weights_WGD[runtime.rank] * gather_rows(x_BD, runtime).sin()).sum()
    loss = all_reduce_sum(part, runtime) ** 2
    loss.backward()
    return loss.detach(), x_BD.grad, scale.grad


@pytest.mark.parametrize("world", WORLDS)
def test_gradients_are_those_of_one_loss_on_one_process(world):
    generator = torch.Generator().manual_seed(world)
    x_GD = torch.randn(2 * world, 3, dtype=torch.float64, generator=generator)
    weights_WGD = torch.randn(world, 2 * world, 3, dtype=torch.float64, generator=generator)
    results = run_ranks(gradients, world, x_GD, weights_WGD)

    x_GD.requires_grad_()
    scale_W = torch.arange(1.0, 1 + world, dtype=torch.float64).requires_grad_()
    loss = (scale_W * (weights_WGD * x_GD.sin()).sum((1, 2))).sum() ** 2
    loss.backward()
    for rank, (rank_loss, x_grad, scale_grad) in enumerate(results):
        torch.testing.assert_close(rank_loss, loss.detach(), rtol=1e-13, atol=0)
        torch.testing.assert_close(x_grad, x_GD.grad.chunk(world)[rank], rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(scale_grad, scale_W.grad[rank], rtol=1e-12, atol=0)
