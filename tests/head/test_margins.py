"""Margins against closed forms in Python floats, slopes against finite differences, and sane numbers at the ends."""

import math

import pytest
import torch

from recognition.errors import InputError
from recognition.head import CombinedMarginLoss
from recognition.head.margins import combined_margin, plain_margin

ARCFACE, COSFACE, SPHEREFACE = (1.0, 0.5, 0.0), (1.0, 0.0, 0.4), (1.35, 0.0, 0.0)
MARGINS = [ARCFACE, COSFACE, SPHEREFACE, (1.0, 0.3, 0.2), (0.9, 0.4, 0.15), (1.0, 0.0, 0.0), (4.0, 0.0, 0.0), (2, 1, 0)]


def closed_form(cos, m1, m2, m3):
    """cos(m1 theta + m2) - m3, past pi mirrored and lowered by 2 for every pi (SphereFace, eq. 7)."""
    phi = m1 * math.acos(cos) + m2
    k = 0
    while phi > (k + 1) * math.pi:
        k += 1
    return (-1) ** k * math.cos(phi) - 2 * k - m3


def grid(count=401):
    return torch.linspace(-0.9999, 0.9999, count, dtype=torch.float64)


@pytest.mark.parametrize("margin", MARGINS)
def test_values_equal_the_closed_form(margin):
    value, _ = combined_margin(grid(), *margin)
    expected = [closed_form(cos, *margin) for cos in grid().tolist()]
    torch.testing.assert_close(value, torch.tensor(expected, dtype=torch.float64), rtol=0, atol=1e-14)
    value32, _ = combined_margin(grid().float(), *margin)
    expected32 = [closed_form(cos, *margin) for cos in grid().float().double().tolist()]
    torch.testing.assert_close(value32.double(), torch.tensor(expected32, dtype=torch.float64), rtol=0, atol=3e-6)


def test_known_points():
    half = torch.tensor([0.5], dtype=torch.float64)
    known = {ARCFACE: math.cos(math.pi / 3 + 0.5), COSFACE: 0.1, (1.0, 0.3, 0.2): math.cos(math.pi / 3 + 0.3) - 0.2}
    for margin, expected in known.items():
        assert combined_margin(half, *margin)[0].item() == pytest.approx(expected, rel=1e-14)
    # theta = pi and m1 = 1.35: phi = 1.35 pi lies in the second piece.
    south = torch.tensor([-1.0], dtype=torch.float64)
    assert combined_margin(south, *SPHEREFACE)[0].item() == pytest.approx(-math.cos(1.35 * math.pi) - 2, rel=1e-14)


@pytest.mark.parametrize("margin", MARGINS)
def test_slopes_equal_finite_differences(margin):
    step = 1e-6
    # 400 points: none falls on a seam, where the difference quotient is only of first order.
    points = grid(400)[1:-1]
    numeric = (combined_margin(points + step, *margin)[0] - combined_margin(points - step, *margin)[0]) / (2 * step)
    torch.testing.assert_close(combined_margin(points, *margin)[1], numeric, rtol=2e-6, atol=2e-6)


@pytest.mark.parametrize("margin", MARGINS)
def test_autograd_passes_the_slope(margin):
    cos = grid(37).requires_grad_()
    target = CombinedMarginLoss(64, *margin).target(cos)
    target.sum().backward()
    value, slope = combined_margin(cos, *margin)
    assert torch.equal(target, value)
    assert torch.equal(cos.grad, slope)


@pytest.mark.parametrize("margin", MARGINS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_value_falls_with_the_angle_without_a_jump_and_slopes_are_finite_to_the_ends(margin, dtype):
    theta = torch.linspace(0, math.pi, 20001, dtype=torch.float64)
    value, slope = combined_margin(theta.cos().to(dtype), *margin)
    fall = value[:-1] - value[1:]
    noise = 4 * torch.finfo(dtype).eps ** 0.5 if dtype == torch.float32 else 1e-9
    assert fall.min() > -noise
    assert fall.max() < margin[0] * (theta[1] - theta[0]) + noise
    assert torch.isfinite(slope).all()
    assert slope.min() >= 0

    ends = torch.tensor([1.0, -1.0, 1 + 2e-7, -1 - 2e-7], dtype=dtype)
    value, slope = combined_margin(ends, *margin)
    assert torch.isfinite(value).all()
    assert torch.isfinite(slope).all()
    expected = [closed_form(cos, *margin) for cos in (1.0, -1.0, 1.0, -1.0)]
    torch.testing.assert_close(value.double(), torch.tensor(expected, dtype=torch.float64), rtol=0, atol=2e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_slope_at_angle_zero_is_the_limit(dtype):
    one = torch.ones(1, dtype=dtype)
    # sin(m1 theta) / sin(theta) -> m1, so that the slope is m1 squared when there is no additive angle.
    for m1 in (1.0, 1.35, 4.0):
        assert combined_margin(one, m1, 0.0, 0.0)[1].item() == pytest.approx(m1**2, rel=2e-6)
    assert combined_margin(one, *ARCFACE)[1].item() == pytest.approx(
        math.sin(0.5) / torch.finfo(dtype).eps ** 0.5, rel=2e-3
    )


def test_straight_through_is_what_arcface_torch_trains_with():
    cos = grid(101).requires_grad_()
    margin = CombinedMarginLoss(64.0, *ARCFACE, margin_gradient="straight_through")
    target = margin.target(cos)
    target.sum().backward()
    expected = torch.tensor([math.cos(math.acos(c) + 0.5) for c in cos.tolist()], dtype=torch.float64)
    torch.testing.assert_close(target.detach(), expected, rtol=0, atol=1e-14)
    assert torch.equal(cos.grad, torch.ones_like(cos))
    for gradient in ("exact", "straight_through"):
        torch.testing.assert_close(
            CombinedMarginLoss(64.0, *COSFACE, margin_gradient=gradient).target(cos), cos - 0.4, rtol=0, atol=0
        )
    value, slope = plain_margin(torch.tensor([0.5], dtype=torch.float64), 1.35, 0.2, 0.1)
    assert value.item() == pytest.approx(math.cos(1.35 * math.pi / 3 + 0.2) - 0.1, rel=1e-14)
    assert slope.item() == 1


def test_module_scales_all_and_takes_the_margin_off_targets_only():
    cos = torch.tensor([[0.9, 0.1, -0.3], [0.2, 0.5, 0.6]], dtype=torch.float64)
    before = cos.clone()
    logits = CombinedMarginLoss(30.0, *ARCFACE)(cos, torch.tensor([0, -1]))
    expected = 30 * cos
    expected[0, 0] = 30 * closed_form(0.9, *ARCFACE)
    torch.testing.assert_close(logits, expected, rtol=1e-14, atol=0)
    assert torch.equal(cos, before)


def test_filter_silences_non_targets_above_the_threshold_and_no_target():
    cos = torch.tensor([[0.9, 0.5, 0.4, -0.9], [0.41, 0.2, 0.9, 0.0]], dtype=torch.float64, requires_grad=True)
    logits = CombinedMarginLoss(10.0, *COSFACE, interclass_filtering_threshold=0.4)(cos, torch.tensor([0, -1]))
    expected = [[5.0, 0.0, 4.0, -9.0], [0.0, 2.0, 0.0, 0.0]]
    torch.testing.assert_close(logits, torch.tensor(expected, dtype=torch.float64))
    logits.sum().backward()
    assert cos.grad.tolist() == [[10.0, 0.0, 10.0, 10.0], [0.0, 10.0, 0.0, 10.0]]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ((0.0, 1, 0.5, 0), "scale"),
        ((-64, 1, 0.5, 0), "scale"),
        ((math.nan, 1, 0.5, 0), "scale"),
        ((math.inf, 1, 0.5, 0), "scale"),
        ((64, 0, 0.5, 0), "m1"),
        ((64, -1, 0.5, 0), "m1"),
        ((64, 1, -0.5, 0), "m2"),
        ((64, 1, 0.5, -0.1), "m3"),
        ((64, 1, 0.5, math.nan), "m3"),
        ((64, 1, 0.5, 0, -0.1), "filter"),
        ((64, 1, 0.5, 0, 1.5), "filter"),
        ((64, 1, 0.5, 0, 0, "exakt"), "exakt"),
    ],
)
def test_nonsense_is_refused(arguments, named):
    with pytest.raises(InputError, match=named):
        CombinedMarginLoss(*arguments)
