"""An angle added to the target's, as a value with closed slopes: what the angular losses share."""

from __future__ import annotations

import math

import torch


def add_angle(cos: torch.Tensor, angle: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Value v = cos(theta + angle), dv/dcos and dv/dangle for cosines and angles in [0, pi] of one shape.

    Past pi the value goes on falling as -2 - cos(theta + angle), the rule of margins.combined_margin, so that the worst
    samples are not rewarded; dv/dcos is held to be finite at cos = +-1 as there. None of the three has a gradient.
    """
    theta, angle = torch.acos(cos.detach().clamp(-1, 1)), angle.detach()
    phi = theta + angle
    value = torch.where(phi > math.pi, -2 - torch.cos(phi), torch.cos(phi))
    turn = torch.sin(phi).abs()
    return value, turn / held_sine(theta), -turn


def held_sine(theta: torch.Tensor) -> torch.Tensor:
    """sin(theta) for theta in [0, pi], as of the angle sqrt(eps) from the ends where theta is nearer to them."""
    edge = math.sqrt(torch.finfo(theta.dtype).eps)
    return torch.sin(theta.clamp(edge, math.pi - edge))


def with_slope(value: torch.Tensor, slope: torch.Tensor, by: torch.Tensor) -> torch.Tensor:
    """`value`, to the bit, with `slope` as its derivative by `by`."""
    return value + slope * (by - by.detach())
