"""One optimizer step: accumulation, ranks, precision, decay, moving average."""

import math

import pytest
import torch
from torch import nn

from recognition.head import CombinedMarginLoss, PartialFC
from recognition.runtime import Runtime
from recognition.training.average import MovingAverage
from recognition.training.optimizer import build_row_optimizer
from recognition.training.step import TrainStep
from tests.ranks import run_ranks
from tests.training.linear_backbone import D, batch, config, linear_backbone


def make_step(runtime, backbone=None, **changes):
    cfg = config(**changes)
    margin = CombinedMarginLoss(16.0, 1.0, 0.3, 0.1)
    # Not "keep": its weights are rounded to bfloat16, in other blocks on another number of ranks.
    options = {"seed": cfg.seed, "optimizer": build_row_optimizer(cfg), "mode": "recompute"}
    head = PartialFC(margin, D, cfg.num_classes, cfg.sample_rate, runtime=runtime, **options)
    return TrainStep(backbone or linear_backbone(), head, cfg=cfg, runtime=runtime)


def weights_after(runtime, groups, **changes):
    """Backbone weights, and this rank's class centres, after one step per group of batches."""
    take_step = make_step(runtime, **changes)
    for step, batches in enumerate(groups):
        take_step(batches, step=step, lr=0.2)
    parameters = torch.cat([p.detach().flatten() for p in take_step.backbone.parameters()])
    return parameters, take_step.head.weight.detach().clone()


def assert_same(found, expected):
    """Equal but for rounding: small numbers carry that of the large ones that they are the difference of."""
    assert (found - expected).abs().max() <= 2e-6 * expected.abs().max()


def test_accumulation_is_the_mean_over_all_its_samples():
    whole = weights_after(Runtime(), [[batch(0, 12)], [batch(12, 24)], [batch(24, 36)]])
    parts = weights_after(
        Runtime(), [[batch(n, n + 4), batch(n + 4, n + 8), batch(n + 8, n + 12)] for n in (0, 12, 24)], gradient_acc=3
    )
    for a, b in zip(whole, parts):
        assert_same(a, b)
    assert not torch.allclose(whole[0], torch.cat([p.flatten() for p in linear_backbone().parameters()]), atol=1e-3)


def split_over_ranks(runtime, gradient_acc):
    share = 12 // runtime.world // gradient_acc
    groups = []
    for start in (0, 12, 24):
        pieces = [start + part * share * runtime.world + runtime.rank * share for part in range(gradient_acc)]
        groups.append([batch(piece, piece + share) for piece in pieces])
    return weights_after(runtime, groups, gradient_acc=gradient_acc)


@pytest.mark.parametrize(("world", "gradient_acc"), [(2, 1), (3, 1), (2, 3)])
def test_ranks_give_the_weights_of_one_process(world, gradient_acc):
    backbone, centers = weights_after(Runtime(), [[batch(0, 12)], [batch(12, 24)], [batch(24, 36)]])
    results = run_ranks(split_over_ranks, world, gradient_acc)
    for parameters, _ in results:
        assert_same(parameters, backbone)
        torch.testing.assert_close(parameters, results[0][0], rtol=0, atol=0)
    assert_same(torch.cat([shard for _, shard in results]), centers)


def overflow_on_one_rank(runtime):
    take_step = make_step(runtime, precision="fp16", fp16=True)
    before = [p.detach().clone() for p in take_step.backbone.parameters()]
    weight = take_step.backbone[1].weight
    if runtime.rank == runtime.world - 1:
        hook = weight.register_hook(lambda grad: grad.index_fill(0, torch.tensor([0]), math.inf))
    share = slice(runtime.rank * 4, runtime.rank * 4 + 4)
    take_step([batch(share.start, share.stop)], step=0, lr=0.2)
    after = [p.detach() for p in take_step.backbone.parameters()]
    unchanged = all(torch.equal(a, b) for a, b in zip(before, after))
    scale = take_step.loss_scale.scale.item()
    if runtime.rank == runtime.world - 1:
        hook.remove()
    # The scales tried first overflow fp16 for real, on all ranks at once; some lower one must get through.
    for step in range(1, 8):
        take_step([batch(share.start, share.stop)], step=step, lr=0.2)
    weights = next(take_step.backbone.parameters()).detach().clone()
    return unchanged, scale, not torch.equal(before[0], weights), weights


@pytest.mark.parametrize("world", [1, 2])
def test_fp16_overflow_on_one_rank_skips_the_step_on_every_rank(world):
    results = run_ranks(overflow_on_one_rank, world) if world > 1 else [overflow_on_one_rank(Runtime())]
    for unchanged, scale, moved, weights in results:
        assert unchanged
        assert scale == 2.0**15
        assert moved
        assert torch.isfinite(weights).all()
        assert torch.equal(weights, results[0][3])


def test_bf16_step_stays_near_fp32():
    exact, _ = weights_after(Runtime(), [[batch(0, 32)]])
    rough, _ = weights_after(Runtime(), [[batch(0, 32)]], precision="bf16")
    change = (exact - torch.cat([p.flatten() for p in linear_backbone().parameters()])).norm()
    assert 0 < (rough - exact).norm() < 0.1 * change


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize("decay_norms", [False, True])
def test_weight_decay_spares_vectors_unless_asked(optimizer, decay_norms):
    backbone = nn.Sequential(nn.Flatten(), nn.Linear(192, D), nn.BatchNorm1d(D), nn.PReLU(D))
    for parameter in backbone.parameters():
        nn.init.constant_(parameter, 0.5)
    take_step = make_step(Runtime(), backbone, optimizer=optimizer, weight_decay=0.1, decay_norms=decay_norms)
    for parameter in backbone.parameters():
        parameter.grad = torch.zeros_like(parameter)
    for group in take_step.optimizer.param_groups:
        group["lr"] = 1.0
    take_step.optimizer.step()
    for name, parameter in backbone.named_parameters():
        decayed = parameter.ndim > 1 or decay_norms
        torch.testing.assert_close(parameter.detach(), torch.full_like(parameter, 0.45 if decayed else 0.5), msg=name)


def test_moving_average_is_the_closed_form():
    take_step = make_step(Runtime(), ema_decay=0.15)
    history = []
    for step in range(4):
        take_step([batch(step * 4, step * 4 + 4)], step=step, lr=0.2)
        history.append(take_step.backbone[1].weight.detach().clone())
    expected = history[0]
    for weight, decay in zip(history[1:], (1 / 10, 0.15, 0.15)):  # n / (n + 9) until that exceeds the decay asked for
        expected = decay * expected + (1 - decay) * weight
    torch.testing.assert_close(take_step.model[1].weight.detach(), expected)
    assert take_step.model is not take_step.backbone


def test_moving_average_takes_statistics_along_and_copies_counters():
    norm = nn.BatchNorm1d(3)
    average = MovingAverage(norm, 0.999)
    for step in range(1, 4):
        norm.running_mean.fill_(step)
        norm.num_batches_tracked.fill_(step)
        average.update(norm)
    assert average.module.num_batches_tracked == 3
    one, two = 1 / 10, 2 / 11
    torch.testing.assert_close(
        average.module.running_mean, torch.full((3,), two * (one + (1 - one) * 2) + (1 - two) * 3)
    )
    assert not average.module.training


def test_clipping_limits_the_backbone_gradient():
    take_step = make_step(Runtime(), max_grad_norm=0.01, momentum=0.0, weight_decay=0.0)
    before = torch.cat([p.detach().flatten() for p in take_step.backbone.parameters()])
    output = take_step([batch(0, 8)], step=0, lr=1.0)
    after = torch.cat([p.detach().flatten() for p in take_step.backbone.parameters()])
    assert output.grad_norm > 0.01  # the norm reported is the one before clipping
    assert (after - before).norm().item() == pytest.approx(0.01, rel=1e-3)
