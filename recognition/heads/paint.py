"""What a sample of a surface is painted with.

Colours are linear light: the square of sRGB, near enough and exact on every machine.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from recognition.heads.person import Colour


@dataclass(frozen=True)
class Paint:
    """Of N samples: colour (N, 3) in linear light, gloss and share of ambient light in [0, 1], classes uint8."""

    colour_N3: np.ndarray
    gloss_N: np.ndarray
    open_N: np.ndarray
    classes_N: np.ndarray


def linear(colour: Colour) -> np.ndarray:
    """An sRGB colour in linear light, float32 (3,)."""
    return np.array([value * value for value in colour], np.float32)
