"""Pictures and masks that vary while a parser learns: mirrored, scaled, cut, in other colours."""

from __future__ import annotations

import numpy as np
from PIL import Image

from recognition.heads.classes import NAMES, Class

SCALES = (0.75, 1.0, 1.25, 1.5, 1.75, 2.0)
COLOURS = 0.5  # by which brightness, contrast and saturation are multiplied, from 1 - it to 1 + it


def _mirrored_classes() -> np.ndarray:
    """The class that each becomes in a mirror: left and right change places."""
    other = {"l_": "r_", "r_": "l_"}
    sides = {f"{side}_{part}" for side in "lr" for part in ("brow", "eye", "ear")}
    names = [other[name[:2]] + name[2:] if name in sides else name for name in NAMES]
    return np.array([NAMES.index(name) for name in names], np.uint8)


MIRRORED = _mirrored_classes()


def mirrored(pixels_HWC: np.ndarray, mask_HW: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both in a mirror, where the left eye is a right eye."""
    return pixels_HWC[:, ::-1], MIRRORED[mask_HW[:, ::-1]]


def varied(pixels_HWC: np.ndarray, mask_HW: np.ndarray, draw: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Another picture of the same size, uint8 (S, S, 3) and (S, S), and what its pixels are.

    Colours first, then the mirror, a scale of SCALES and a cut at a random place; what is beyond the edge of a picture
    that became smaller is black background. The order and the ranges are those of the published parsers.
    """
    pixels_HWC = recoloured(pixels_HWC, *(1 + COLOURS * (2 * draw.random(3) - 1)))
    if draw.random() < 0.5:
        pixels_HWC, mask_HW = mirrored(pixels_HWC, mask_HW)
    side = len(mask_HW)
    scaled = round(side * SCALES[draw.integers(len(SCALES))])
    place = draw.random(2)
    if scaled != side:
        size = (scaled, scaled)
        pixels_HWC = np.asarray(Image.fromarray(np.ascontiguousarray(pixels_HWC)).resize(size, Image.BILINEAR))
        mask_HW = np.asarray(Image.fromarray(np.ascontiguousarray(mask_HW)).resize(size, Image.NEAREST))
    top, left = (int(share * (abs(scaled - side) + 1)) for share in place)
    if scaled >= side:
        return pixels_HWC[top : top + side, left : left + side], mask_HW[top : top + side, left : left + side]
    out_HWC, out_HW = np.zeros((side, side, 3), np.uint8), np.full((side, side), Class.BACKGROUND, np.uint8)
    out_HWC[top : top + scaled, left : left + scaled] = pixels_HWC
    out_HW[top : top + scaled, left : left + scaled] = mask_HW
    return out_HWC, out_HW


def recoloured(pixels_HWC: np.ndarray, brightness: float, contrast: float, saturation: float) -> np.ndarray:
    """Brighter, then of more contrast about the mean grey, then more colourful, by these factors; 1 changes nothing."""
    values = pixels_HWC.astype(np.float32) * brightness
    values = _from(_grey(values).mean(), values, contrast)
    values = _from(_grey(values)[..., None], values, saturation)
    return np.rint(values).clip(0, 255).astype(np.uint8)


def _from(middle: np.ndarray, values: np.ndarray, factor: float) -> np.ndarray:
    return middle + factor * (values - middle)


def _grey(values_HWC: np.ndarray) -> np.ndarray:
    """Luma by ITU-R BT.601."""
    return values_HWC @ np.array([0.299, 0.587, 0.114], np.float32)
