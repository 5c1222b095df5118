"""Frozen parts keep every bit of weights and statistics, do no backward work, and train from the step they thaw at."""

from fractions import Fraction

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from recognition.backbones import build_backbone
from recognition.embedding.over_ranks import evaluating
from recognition.errors import InputError
from recognition.runtime import Runtime
from recognition.training.freezing import Freezing, thaw_step
from recognition.training.optimizer import build_optimizer, rebuilt_optimizer, set_learning_rate
from recognition.training.step import parallel
from tests.ranks import run_ranks
from tests.training.linear_backbone import D, config, linear_backbone


@pytest.mark.parametrize(
    ("epoch", "samples", "batch", "expected"),
    [(1, 100, 10, 10), (1, 101, 10, 11), (2, 7, 10, 2), (0.5, 100, 8, 7), (1.1, 100, 1, 110), (3, 10, 100, 1)],
)
def test_parts_thaw_at_the_first_step_that_begins_in_their_epoch(epoch, samples, batch, expected):
    found = thaw_step(epoch, num_samples=samples, global_batch=batch)
    begins = [step for step in range(200) if Fraction(step * batch, samples) >= Fraction(str(epoch))]
    assert found == begins[0] == expected


def test_without_an_epoch_nothing_thaws():
    assert thaw_step(None, num_samples=100, global_batch=10) is None
    freezing = Freezing(linear_backbone(), ["1"])
    assert freezing.is_frozen(0)
    assert freezing.is_frozen(10**9)


def test_nothing_to_freeze_changes_nothing():
    backbone = build_backbone("r_tiny", D, image_size=32)
    freezing = Freezing(backbone, [], until=3)
    assert not any(freezing.advance(step) for step in range(5))
    assert all(module.training for module in backbone.modules())


def test_an_unknown_part_is_refused():
    with pytest.raises(InputError, match="freeze: .*no part 'layer9'"):
        Freezing(build_backbone("r_tiny", D, image_size=32), ["layer9"])


def test_freezing_follows_the_step_in_any_order():
    backbone = build_backbone("r_tiny", D, image_size=32)
    freezing = Freezing(backbone, ["layer1"], until=3)
    assert [freezing.advance(step) for step in (0, 1, 2, 3, 4, 1, 9)] == [True, False, False, True, False, True, True]
    late = Freezing(build_backbone("r_tiny", D, image_size=32), ["layer1"], until=3)
    assert not late.advance(5)  # resumed after the thaw: nothing to change


@pytest.mark.parametrize("parts", [["layer1"], ["conv1", "bn1", "prelu", "layer1"], ["features"], ["backbone"]])
def test_frozen_parameters_and_statistics_are_those_named_and_thawing_restores_all(parts):
    backbone = build_backbone("r_tiny", D, image_size=32)
    before = {name: parameter.requires_grad for name, parameter in backbone.named_parameters()}
    freezing = Freezing(backbone, parts, until=1)
    freezing.advance(0)

    def is_named(name):
        return parts == ["backbone"] or name.split(".")[0] in parts

    for name, parameter in backbone.named_parameters():
        assert parameter.requires_grad == (before[name] and not is_named(name)), name
    for name, module in backbone.named_modules():
        if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
            assert module.training != is_named(name), name
    freezing.advance(1)
    # Also the scale of the last BatchNorm, which no run trains.
    assert {name: parameter.requires_grad for name, parameter in backbone.named_parameters()} == before
    assert not before["features.weight"]
    assert all(module.training for module in backbone.modules())


def cross_entropy_steps(backbone, optimizer, steps, start=0):
    """Steps of a classifier over the embeddings, in plain torch."""
    for step in range(start, start + steps):
        generator = torch.Generator().manual_seed(step)
        x_BCHW = torch.randn(8, 3, 32, 32, generator=generator)
        emb_BD = backbone(x_BCHW)
        loss = F.cross_entropy(emb_BD, torch.randint(D, (8,), generator=generator))
        loss.backward()
        set_learning_rate(optimizer, 0.1)
        optimizer.step()
        optimizer.zero_grad()


def copied(module):
    return {key: tensor.clone() for key, tensor in module.state_dict().items()}


@pytest.mark.parametrize("network", ["r_tiny", "mbf_tiny"])
def test_frozen_parts_keep_every_bit_and_the_others_move(network):
    torch.manual_seed(0)
    backbone = build_backbone(network, D, image_size=32)
    parts = ["conv1", "bn1", "prelu", "layer1", "layer2"] if network == "r_tiny" else ["layers"]
    Freezing(backbone, parts).advance(0)
    before = copied(backbone)
    optimizer = build_optimizer(backbone, nn.Module(), config(weight_decay=0.1))
    cross_entropy_steps(backbone, optimizer, 3)
    with evaluating(backbone):  # as a verification in between leaves it
        pass
    cross_entropy_steps(backbone, optimizer, 2, start=3)
    moved = {key for key, tensor in backbone.state_dict().items() if not torch.equal(tensor, before[key])}
    others = {key for key in before if key.split(".")[0] not in parts}
    never = {"features.weight"} if network == "r_tiny" else set()
    assert moved == others - never


@pytest.mark.parametrize("checkpointing", [False, True])
def test_a_frozen_beginning_has_no_backward_pass(checkpointing):
    backbone = build_backbone("r_tiny", D, image_size=32, gradient_checkpointing=checkpointing)
    Freezing(backbone, ["conv1", "bn1", "prelu", "layer1", "layer2"]).advance(0)
    needed = {}
    for name in ("conv1", "layer1.0", "layer2.0", "layer3.0", "fc"):
        part = backbone.get_submodule(name)
        part.register_forward_hook(lambda *args, n=name: needed.update({n: args[2].requires_grad}))
    backbone(torch.randn(4, 3, 32, 32)).sum().backward()
    assert needed == {"conv1": False, "layer1.0": False, "layer2.0": False, "layer3.0": True, "fc": True}
    assert all(p.grad is None for p in [*backbone.conv1.parameters(), *backbone.layer2.parameters()])
    assert all(p.grad is not None for p in backbone.layer3.parameters())


def test_a_frozen_norm_normalises_with_its_running_statistics():
    norm = nn.Sequential(nn.BatchNorm1d(3), nn.Linear(3, 3))
    norm[0].running_mean.fill_(2.0)
    norm[0].running_var.fill_(4.0)
    Freezing(norm, ["0"]).advance(0)
    x_BD = torch.randn(5, 3)
    torch.testing.assert_close(norm[0](x_BD), (x_BD - 2) / (4 + 1e-5) ** 0.5)


# ---- Thawing ---------------------------------------------------------------------------------------------------------


def plain_backbone(thaw, steps, world=1):
    """The reference: plain SGD on the whole global batch, with an optimizer of its own for the part that is frozen."""
    backbone = linear_backbone()
    options = {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.01}
    first = torch.optim.SGD(backbone[1].parameters(), **options)
    rest = torch.optim.SGD(backbone[3].parameters(), **options)
    for step in range(steps):
        F.cross_entropy(backbone(pictures(step)), labels(step)).backward()
        rest.step()
        if step >= thaw:
            first.step()
        first.zero_grad(), rest.zero_grad()
    return [parameter.detach() for parameter in backbone.parameters()]


def pictures(step):
    return torch.randn(12, 3, 8, 8, generator=torch.Generator().manual_seed(step))


def labels(step):
    return torch.randint(D, (12,), generator=torch.Generator().manual_seed(100 + step))


def thawing_backbone(runtime, thaw, steps):
    """The same with `Freezing`, and all that hangs on it built anew where it says so."""
    backbone = linear_backbone()
    cfg = config(weight_decay=0.01, decay_norms=True)
    freezing = Freezing(backbone, ["1"], until=thaw)
    freezing.advance(0)
    replica, optimizer = parallel(backbone, cfg, runtime), build_optimizer(backbone, nn.Module(), cfg)
    history = []
    for step in range(steps):
        if freezing.advance(step):
            replica = None  # the old one lets go of the parameters first
            replica = parallel(backbone, cfg, runtime)
            optimizer = rebuilt_optimizer(optimizer, backbone, nn.Module(), cfg)
        share = slice(runtime.rank * 12 // runtime.world, (runtime.rank + 1) * 12 // runtime.world)
        F.cross_entropy(replica(pictures(step)[share]), labels(step)[share]).backward()
        set_learning_rate(optimizer, 0.1)
        optimizer.step()
        optimizer.zero_grad()
        history.append([parameter.detach().clone() for parameter in backbone.parameters()])
    return history


@pytest.mark.parametrize("world", [1, 2, 3])
def test_a_thawed_part_trains_from_zero_momentum_as_plain_torch_does(world):
    results = run_ranks(thawing_backbone, world, 3, 6) if world > 1 else [thawing_backbone(Runtime(), 3, 6)]
    start = [parameter.detach() for parameter in linear_backbone().parameters()]
    for history in results:
        for step, weights in enumerate(history):
            assert torch.equal(weights[0], start[0]) == (step < 3)
        for found, expected, same in zip(history[-1], plain_backbone(3, 6), results[0][-1]):
            torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
            assert torch.equal(found, same)
