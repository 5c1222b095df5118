"""Several pictures as one, and one as a file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from recognition.atomic import replacing

_GAP = 4  # white pixels between the pictures of a grid


def grid(rows: Sequence[Sequence[np.ndarray]]) -> np.ndarray:
    """Pictures uint8 (S, S, 3) in rows of one length, as one picture with white between them."""
    side, width = rows[0][0].shape[0], len(rows[0])
    step = side + _GAP
    out = np.full((len(rows) * step - _GAP, width * step - _GAP, 3), 255, np.uint8)
    for y, row in enumerate(rows):
        for x, pixels_HWC in enumerate(row):
            out[y * step : y * step + side, x * step : x * step + side] = pixels_HWC
    return out


def save_png(path: Path, pixels_HWC: np.ndarray) -> None:
    """Write a PNG, whole or not at all."""
    with replacing(path) as partial:
        Image.fromarray(pixels_HWC).save(partial, "PNG", optimize=True)
