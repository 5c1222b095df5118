"""Parts of a network, learning rate factors by part, and the optimizer's groups that follow."""

import dataclasses

import pytest
import torch
from torch import nn

from recognition.backbones import build_backbone
from recognition.errors import InputError
from recognition.head.losses import UniFace
from recognition.training.optimizer import (
    build_optimizer,
    build_row_optimizer,
    parameter_groups,
    rebuilt_optimizer,
    set_learning_rate,
)
from recognition.training.parts import (
    head_lr_factor,
    is_part_of,
    lr_factor,
    parse_lr_factors,
    part_names,
    require_parts,
)
from tests.training.linear_backbone import config, linear_backbone


@pytest.mark.parametrize(
    ("name", "part", "expected"),
    [
        ("layer1.0.conv1.weight", "layer1", True),
        ("layer1.0.conv1.weight", "layer1.0", True),
        ("layer1.0.conv1.weight", "layer1.0.conv1.weight", True),
        ("layer1.0.conv1.weight", "backbone", True),
        ("layer1.0.conv1.weight", "layer", False),
        ("layer10.0.conv1.weight", "layer1", False),
        ("layers.12.weight", "layers.1", False),
        ("layer1.0.bn1.weight", "bn1", False),
        ("layer1", "layer1.0", False),
    ],
)
def test_a_part_is_a_beginning_in_whole_words(name, part, expected):
    assert is_part_of(name, part) is expected


def test_the_longest_part_decides_on_the_factor():
    factors = parse_lr_factors(["layer1.0:0.3", " backbone : 0.1", "fc:5", "layer1:0.01", "head:2e0"])
    assert factors == {"layer1.0": 0.3, "backbone": 0.1, "fc": 5.0, "layer1": 0.01, "head": 2.0}
    expected = {"layer1.0.bn1.bias": 0.3, "layer1.1.bn1.bias": 0.01, "layer2.0.bn1.bias": 0.1, "fc.bias": 5.0}
    assert {name: lr_factor(name, factors) for name in expected} == expected
    assert head_lr_factor(factors) == 2.0


def test_what_has_no_factor_has_1():
    assert lr_factor("fc.bias", {"layer1": 0.1, "head": 7.0}) == head_lr_factor({"backbone": 0.1}) == 1.0
    assert parse_lr_factors([]) == {}


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        (["backbone"], "'backbone'; write PART:FACTOR"),
        (["backbone:"], "write PART:FACTOR"),
        ([":0.1"], "write PART:FACTOR"),
        (["backbone:fast"], "'backbone:fast'; write"),
        (["backbone:nan"], "write PART:FACTOR"),
        (["backbone:inf"], "write PART:FACTOR"),
        (["a:0.1:0.2"], "write PART:FACTOR"),
        (["layer1:0"], "above 0; freeze=layer1"),
        (["layer1:-0.1"], "above 0"),
        (["fc:0.1", "fc:0.1"], "'fc' twice"),
    ],
)
def test_malformed_factors_are_refused(texts, words):
    with pytest.raises(InputError, match=words):
        parse_lr_factors(texts)


def test_parts_of_a_network_are_all_beginnings_of_its_parameters_names():
    module = nn.Sequential(nn.Linear(2, 2), nn.Sequential(nn.PReLU()), nn.Flatten())
    assert part_names(module) == ["backbone", "0", "0.weight", "0.bias", "1", "1.0", "1.0.weight"]


def test_an_unknown_part_is_refused_with_the_nearest_ones():
    backbone = build_backbone("r_tiny", 32, image_size=32)
    require_parts(["backbone", "layer1", "layer4.0", "fc.weight"], backbone, "freeze")
    with pytest.raises(InputError, match=r"freeze: .*no part 'layer5'; did you mean 'layer\d'.* conv1, bn1, prelu"):
        require_parts(["layer1", "layer5"], backbone, "freeze")
    with pytest.raises(InputError, match="lr_factors: .*no part 'stem'"):
        parameter_groups(backbone, nn.Module(), config(lr_factors=("stem:0.1",)))


# ---- Groups of the optimizer -----------------------------------------------------------------------------------------


def backbone_and_head():
    torch.manual_seed(3)
    backbone = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.PReLU(8), nn.Linear(8, 4), nn.BatchNorm1d(4))
    backbone[4].weight.requires_grad_(False)
    return backbone, UniFace(16.0, 0.1, num_classes=5)


def numbered(groups, *modules):
    """Groups with the places of their parameters among all those of the modules."""
    places = {id(p): place for place, p in enumerate(p for module in modules for p in module.parameters())}
    return [(group["weight_decay"], group["lr_factor"], [places[id(p)] for p in group["params"]]) for group in groups]


def test_without_factors_the_groups_are_matrices_vectors_and_the_objective():
    backbone, head = backbone_and_head()
    cfg = config(weight_decay=0.1)
    expected = [(0.1, 1.0, [0, 5]), (0.0, 1.0, [1, 2, 3, 4, 6, 8]), (0.0, 1.0, [9])]
    assert numbered(parameter_groups(backbone, head, cfg), backbone, head) == expected
    decayed = parameter_groups(backbone, head, dataclasses.replace(cfg, decay_norms=True))
    assert numbered(decayed, backbone, head)[1] == (0.1, 1.0, [1, 2, 3, 4, 6, 8])


def test_with_factors_every_trainable_parameter_is_in_one_group_of_its_decay_and_factor():
    backbone, head = backbone_and_head()
    cfg = config(weight_decay=0.1, lr_factors=("backbone:0.5", "0:0.1", "3.weight:2", "head:3"))
    expected = [(0.1, 0.1, [0]), (0.1, 2.0, [5]), (0.0, 0.1, [1]), (0.0, 0.5, [2, 3, 4, 6, 8]), (0.0, 3.0, [9])]
    assert numbered(parameter_groups(backbone, head, cfg), backbone, head) == expected


def test_what_is_frozen_is_in_no_group_and_nothing_at_all_is_an_optimizer_too():
    backbone, _ = backbone_and_head()
    backbone[0].requires_grad_(False)
    groups = parameter_groups(backbone, nn.Module(), config(weight_decay=0.1))
    assert numbered(groups, backbone) == [(0.1, 1.0, [5]), (0.0, 1.0, [2, 3, 4, 6, 8])]
    backbone.requires_grad_(False)
    for name in ("sgd", "adamw"):
        optimizer = build_optimizer(backbone, nn.Module(), config(optimizer=name))
        set_learning_rate(optimizer, 0.1)
        optimizer.step()
        optimizer.zero_grad()
        assert [group["params"] for group in optimizer.param_groups] == [[]]


def gradients(backbone, step):
    generator = torch.Generator().manual_seed(step)
    for parameter in backbone.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=generator)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_a_factor_is_a_learning_rate_of_its_own_in_plain_torch(optimizer):
    cfg = config(optimizer=optimizer, weight_decay=0.1, lr_factors=("1:0.25",), decay_norms=True)
    ours, plain = linear_backbone(), linear_backbone()
    mine = build_optimizer(ours, nn.Module(), cfg)
    groups = [{"params": plain[3].parameters()}, {"params": plain[1].parameters()}]
    if optimizer == "sgd":
        theirs = torch.optim.SGD(groups, lr=1.0, momentum=0.9, weight_decay=0.1)
    else:
        theirs = torch.optim.AdamW(groups, lr=1.0, weight_decay=0.1)
    for step, lr in enumerate((0.2, 0.1, 0.05)):
        gradients(ours, step), gradients(plain, step)
        set_learning_rate(mine, lr)
        theirs.param_groups[0]["lr"], theirs.param_groups[1]["lr"] = lr, lr * 0.25
        mine.step(), theirs.step()
    for a, b in zip(ours.parameters(), plain.parameters()):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


def test_the_rows_of_the_head_take_the_factor_times_the_rate_as_any_parameter_does():
    rows_RPD = torch.zeros(4, 2, 8)
    rows_RPD[:, 0] = torch.randn(4, 8)
    weight = nn.Parameter(rows_RPD[:, 0].clone())
    cfg = config(weight_decay=0.1, lr_factors=("head:0.5",))
    rows, theirs = build_row_optimizer(cfg), torch.optim.SGD([weight], lr=0.1, momentum=0.9, weight_decay=0.1)
    factor = head_lr_factor(parse_lr_factors(cfg.lr_factors))
    for _ in range(3):
        weight.grad = torch.randn(4, 8)
        rows.update_(rows_RPD, weight.grad + 0.1 * rows_RPD[:, 0], 0.2 * factor, 0)
        theirs.step()
    torch.testing.assert_close(rows_RPD[:, 0], weight.detach())


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_a_rebuilt_optimizer_goes_on_and_what_it_gained_begins(optimizer):
    cfg = config(optimizer=optimizer, weight_decay=0.1, decay_norms=True)
    ours, plain = linear_backbone(), linear_backbone()
    ours[1].requires_grad_(False)
    mine = build_optimizer(ours, nn.Module(), cfg)
    kind = torch.optim.SGD if optimizer == "sgd" else torch.optim.AdamW
    options = {"lr": 0.1, "weight_decay": 0.1} | ({"momentum": 0.9} if optimizer == "sgd" else {})
    late, early = kind(plain[1].parameters(), **options), kind(plain[3].parameters(), **options)
    for step in range(6):
        if step == 3:
            ours[1].requires_grad_(True)
            mine = rebuilt_optimizer(mine, ours, nn.Module(), cfg)
        gradients(ours, step), gradients(plain, step)
        set_learning_rate(mine, 0.1)
        mine.step(), early.step()
        if step >= 3:
            late.step()
    for a, b in zip(ours.parameters(), plain.parameters()):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)
    fresh = build_optimizer(ours, nn.Module(), cfg)
    assert numbered(mine.param_groups, ours) == numbered(fresh.param_groups, ours)
