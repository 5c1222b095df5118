"""The head that others are measured against computes the right thing, at the costs that its model is known for."""

from __future__ import annotations

import functools

import pytest
import torch

from recognition.benchmarks.baseline import DenseHead, draw_classes
from recognition.benchmarks.counting import Counts
from recognition.head.reference import reference_loss
from recognition.head.shards import class_range
from recognition.runtime import Runtime
from tests.ranks import run_ranks

C, D, G, S, M = 101, 16, 12, 16.0, 0.5
WORLDS, RATES = [1, 2, 4], [1.0, 0.5]


def batch():
    generator = torch.Generator().manual_seed(3)
    emb_GD = 3 * torch.randn(G, D, generator=generator)
    centers_CD = torch.randn(C, D, generator=generator)
    labels_G = torch.randint(0, C, (G,), generator=generator)
    return emb_GD, centers_CD, labels_G


def sample_of(rank, world, labels_G):
    """Local numbers of the classes that a rank uses: every second one and its positives."""
    start, count = class_range(C, world, rank)
    here_G = labels_G[(labels_G >= start) & (labels_G < start + count)] - start
    return torch.unique(torch.cat([torch.arange(0, count, 2), here_G]))


def dense_step(runtime, rate):
    emb_GD, centers_CD, labels_G = batch()
    start, count = class_range(C, runtime.world, runtime.rank)
    head = DenseHead(D, C, rate, runtime=runtime, s=S, margin=M)
    head.weight.data.copy_(centers_CD[start : start + count])
    emb_BD = emb_GD.chunk(runtime.world)[runtime.rank].clone().requires_grad_()
    index_S = sample_of(runtime.rank, runtime.world, labels_G) if rate < 1 else None
    with Counts() as counts:
        loss = head(emb_BD, labels_G.chunk(runtime.world)[runtime.rank], index_S=index_S)
        loss.backward()
    return loss.detach(), emb_BD.grad, head.weight.grad, counts.collectives, counts.host_reads


def dense_steps(runtime):
    return {rate: dense_step(runtime, rate) for rate in RATES}


@functools.cache
def all_results(world):
    return run_ranks(dense_steps, world) if world > 1 else [dense_steps(Runtime())]


def results(world, rate):
    return [by_rate[rate] for by_rate in all_results(world)]


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("world", WORLDS)
def test_loss_and_gradients_are_the_reference(world, rate):
    emb_GD, centers_CD, labels_G = batch()
    emb_GD.requires_grad_(), centers_CD.requires_grad_()
    ranks = range(world)
    classes_S = torch.cat([class_range(C, world, rank)[0] + sample_of(rank, world, labels_G) for rank in ranks])
    loss, _ = reference_loss(
        emb_GD,
        centers_CD,
        labels_G,
        **{"s": S, "m1": 1.0, "m2": M, "m3": 0.0},
        margin_gradient="straight_through",
        classes_S=classes_S if rate < 1 else None,
    )
    loss.backward()
    losses, grad_emb, grad_centers, *_ = zip(*results(world, rate))
    for found in losses:
        torch.testing.assert_close(found, loss.detach())
    # DDP takes the mean over the ranks afterwards, which leaves the gradient of the global mean.
    torch.testing.assert_close(torch.cat(grad_emb) / world, emb_GD.grad, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(torch.cat(grad_centers), centers_CD.grad, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("world", WORLDS[1:])
def test_collectives_grow_with_the_ranks(world):
    for *_, collectives, _ in results(world, 1.0):
        assert collectives.total() == 5 + world, collectives


def test_it_waits_for_the_device_in_every_step():
    assert results(1, 1.0)[0][-1].total() >= 3
    assert results(1, 0.5)[0][-1].total() > results(1, 1.0)[0][-1].total()


def test_the_gradient_is_dense_and_the_shard_is_resorted():
    head = DenseHead(D, C, 0.3, runtime=Runtime())
    head(torch.randn(G, D), torch.arange(G)).backward()
    assert head.weight.grad.shape == (C, D)
    assert (head.weight.grad.abs().sum(1) > 0).sum() == int(0.3 * C)


def test_draw_has_all_positives_and_the_size_asked_for():
    positives_P = torch.tensor([7, 3, 3, 90])
    index_S = draw_classes(positives_P, C, 0.2)
    assert len(index_S) == 20
    assert index_S.tolist() == sorted(set(index_S.tolist()))
    assert {3, 7, 90} <= set(index_S.tolist())
    assert draw_classes(torch.arange(30), C, 0.2).tolist() == list(range(30))
