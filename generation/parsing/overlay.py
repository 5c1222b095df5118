"""Masks for people to look at: a colour for each class, over the picture, with a legend."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from recognition.heads.classes import NAMES

# In the order of NAMES; what is left of a face is lighter than what is right of it.
COLOURS = np.array(
    [
        (38, 50, 63), (240, 190, 150), (120, 200, 80), (50, 130, 40), (90, 190, 250), (20, 90, 200), (250, 230, 60),
        (255, 140, 190), (200, 40, 120), (255, 215, 0), (245, 120, 40), (120, 0, 30), (235, 70, 70), (170, 20, 60),
        (190, 140, 110), (0, 190, 170), (90, 110, 160), (110, 60, 150), (150, 220, 210),
    ],
    np.uint8,
)  # fmt: skip
STRENGTH = 0.55  # of the colours over a picture
_ROW_PX, _LEGEND_PX, _BOX_PX = 16, 96, 10


def coloured(mask_HW: np.ndarray) -> np.ndarray:
    """Each pixel in the colour of its class, uint8 (H, W, 3)."""
    return COLOURS[mask_HW]


def overlaid(pixels_HWC: np.ndarray, mask_HW: np.ndarray, *, strength: float = STRENGTH) -> np.ndarray:
    """The picture with the colours over it, uint8 (H, W, 3); background is left as it is."""
    mixed_HWC = np.rint(pixels_HWC * (1 - strength) + coloured(mask_HW) * strength).astype(np.uint8)
    return np.where(mask_HW[..., None] > 0, mixed_HWC, pixels_HWC)


def with_legend(pixels_HWC: np.ndarray, classes: Sequence[int]) -> np.ndarray:
    """A picture with the names of these classes and their colours on its right, uint8 (H', W + 96, 3)."""
    height = max(pixels_HWC.shape[0], _ROW_PX * len(classes) + 4)
    out_HWC = np.full((height, pixels_HWC.shape[1] + _LEGEND_PX, 3), 255, np.uint8)
    out_HWC[: pixels_HWC.shape[0], : pixels_HWC.shape[1]] = pixels_HWC
    image = Image.fromarray(out_HWC)
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(10)
    for row, number in enumerate(classes):
        x, y = pixels_HWC.shape[1] + 8, 4 + row * _ROW_PX
        draw.rectangle((x, y, x + _BOX_PX, y + _BOX_PX), fill=tuple(COLOURS[number].tolist()))
        draw.text((x + _BOX_PX + 6, y - 1), NAMES[number], fill=(38, 50, 63), font=font)
    return np.asarray(image)


def shares(mask_HW: np.ndarray) -> dict[str, float]:
    """The share of the pixels that each class has, by name, of those that occur."""
    counts_C = np.bincount(mask_HW.ravel(), minlength=len(NAMES))
    return {name: count / mask_HW.size for name, count in zip(NAMES, counts_C.tolist()) if count}
