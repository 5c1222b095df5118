"""The losses against what can be worked out by hand."""

import math

import pytest
import torch
from torch import nn

from generation.stargan.losses import classification_loss, gradient_penalty, reconstruction_loss


class Linear(nn.Module):
    """D(x) = w x: its slope is w everywhere."""

    def __init__(self, weight):
        super().__init__()
        self.weight = nn.Parameter(weight)

    def forward(self, x):
        return (x * self.weight).flatten(1).sum(1).view(-1, 1, 1, 1), x.new_zeros(len(x), 1)


class Square(nn.Module):
    """D(x) = a/2 |x|^2: its slope at x is a x."""

    def __init__(self, a):
        super().__init__()
        self.a = nn.Parameter(torch.tensor(a))
        self.dtypes = []

    def forward(self, x):
        self.dtypes.append((x.dtype, torch.is_autocast_enabled("cpu")))
        return (self.a / 2 * x.square().flatten(1).sum(1)).view(-1, 1, 1, 1), x.new_zeros(len(x), 1)


def test_penalty_of_a_linear_network():
    weight = torch.randn(3, 8, 8)
    x, made = torch.randn(5, 3, 8, 8), torch.randn(5, 3, 8, 8)
    network = Linear(weight)
    found = gradient_penalty(network, x, made, torch.rand(5))
    torch.testing.assert_close(found, (weight.norm() - 1) ** 2)
    found.backward()  # d/dw (|w| - 1)^2 = 2 (|w| - 1) w / |w|
    torch.testing.assert_close(network.weight.grad, 2 * (weight.norm() - 1) * weight / weight.norm())


def test_penalty_is_taken_between_the_pictures():
    x, made, shares = torch.randn(4, 3, 4, 4), torch.randn(4, 3, 4, 4), torch.tensor([0.0, 0.25, 0.5, 1.0])
    between = shares.view(-1, 1, 1, 1) * x + (1 - shares.view(-1, 1, 1, 1)) * made
    wanted = ((3 * between.flatten(1).norm(dim=1) - 1) ** 2).mean()
    torch.testing.assert_close(gradient_penalty(Square(3.0), x, made, shares), wanted)


def test_penalty_stays_in_float32_under_autocast():
    network = Square(3.0)
    x, made = torch.randn(4, 3, 4, 4), torch.randn(4, 3, 4, 4).bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = gradient_penalty(network, x, made, torch.rand(4))
    assert found.dtype == torch.float32
    assert network.dtypes == [(torch.float32, False)]
    found.backward()
    assert network.a.grad.isfinite()


def test_penalty_reaches_no_generator():
    made = torch.randn(2, 3, 4, 4, requires_grad=True)
    gradient_penalty(Square(1.0), torch.randn(2, 3, 4, 4), made, torch.rand(2)).backward()
    assert made.grad is None


def test_classification_is_one_yes_or_no_for_each_attribute():
    logits, labels = torch.tensor([[2.0, -1.0], [0.5, 3.0]]), torch.tensor([[1.0, 1.0], [0.0, 1.0]])
    wanted = 0.0
    for row, truths in zip(logits.tolist(), labels.tolist()):
        for logit, truth in zip(row, truths):
            chance = 1 / (1 + math.exp(-logit))
            wanted -= math.log(chance if truth else 1 - chance)
    assert classification_loss(logits, labels).item() == pytest.approx(wanted / 2, rel=1e-6)


def test_reconstruction():
    a, b = torch.tensor([[0.0, 1.0]]), torch.tensor([[0.5, -1.0]])
    assert reconstruction_loss(a, b).item() == pytest.approx((0.5 + 2) / 2)
