"""Smooth functions made of +, -, *, / and square roots alone, which every machine rounds alike."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def bump(distance2: np.ndarray) -> np.ndarray:
    """1 at distance 0 and, without a kink, 0 from distance 1 on; takes the square of the distance."""
    inside = np.maximum(1 - distance2, 0)
    return inside * inside


def step(values: np.ndarray, low: float | np.ndarray, high: float | np.ndarray) -> np.ndarray:
    """0 up to `low`, 1 from `high` on, the cubic 3t^2 - 2t^3 between; `high` < `low` falls instead."""
    t = np.clip((values - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def through(knots: Sequence[float], heights: Sequence[float] | np.ndarray, at: np.ndarray) -> np.ndarray:
    """The cubic Hermite curve through the knots with three-point slopes (Catmull-Rom on uneven knots); level outside.

    `heights` of shape (M, K) are M curves, and their values come in a first axis of M.
    """
    knots_K, heights_K = np.asarray(knots, np.float32), np.asarray(heights, np.float32)
    widths = knots_K[1:] - knots_K[:-1]
    rises = (heights_K[..., 1:] - heights_K[..., :-1]) / widths
    slopes = np.zeros_like(heights_K)
    slopes[..., 1:-1] = (rises[..., :-1] * widths[1:] + rises[..., 1:] * widths[:-1]) / (widths[:-1] + widths[1:])
    place = np.searchsorted(knots_K[1:-1], at, side="right")
    width = widths[place]
    t = np.clip((at - knots_K[place]) / width, 0, 1)
    back = 1 - t
    risen = t * t * (3 - 2 * t)
    low, high = heights_K[..., place], heights_K[..., place + 1]
    bent = slopes[..., place] * back - slopes[..., place + 1] * t
    return low + (high - low) * risen + width * t * back * bent


def mixed(one: np.ndarray, other: np.ndarray | Sequence[float], share: np.ndarray) -> np.ndarray:
    """`one` where the share is 0, `other` where it is 1; colours in the last axis, shares without it."""
    return one + (np.asarray(other, np.float32) - one) * share[..., None]


def wave(values: np.ndarray) -> np.ndarray:
    """A periodic curve of period 1 between -1 and 1, near a sine, of parabolas."""
    t = values - np.floor(values)
    half = t + t - 1
    return -4 * half * (1 - np.abs(half))
