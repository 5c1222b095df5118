"""The parts of a face, pixel by pixel: a parser looks at the aligned head, its classes go back to the picture."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from generation.analysis.crops import crop_of
from recognition.faces.alignment import TEMPLATE_52, similarity
from recognition.heads.classes import NAMES

SIZE = 512
# CelebA-HQ's faces, which parsers are trained on, have eyes about 120 of 512 pixels apart, and hair and neck around.
HEAD_52 = TEMPLATE_52 * 3.4 + (65.5, 62.6)


class Parser(Protocol):
    """The class (recognition/heads/classes.py) of each pixel, uint8 (H, W), of a picture, uint8 (H, W, 3) RGB."""

    facts: dict[str, Any]

    def __call__(self, pixels_HWC: np.ndarray) -> np.ndarray:
        """See Parser."""
        ...


@dataclass(frozen=True, eq=False)
class FaceMask:
    """The classes of a part of the picture, uint8; its first pixel is (`left`, `top`) there. 0 beyond the crop."""

    classes_HW: np.ndarray
    left: int
    top: int
    by: str

    def counts(self) -> dict[str, int]:
        """Pixels of the picture of each class that is there, background left out."""
        count_C = np.bincount(self.classes_HW.ravel(), minlength=len(NAMES))
        return {name: int(count) for name, count in zip(NAMES[1:], count_C[1:]) if count}

    def laid_on(self, picture_HW: np.ndarray) -> None:
        """Put the classes into a picture of classes, in place, where they are not background."""
        height, width = self.classes_HW.shape
        part_HW = picture_HW[self.top : self.top + height, self.left : self.left + width]
        np.copyto(part_HW, self.classes_HW, where=self.classes_HW > 0)


def mask_of(parser: Callable[[np.ndarray], np.ndarray], pixels_HWC: np.ndarray, points_52: np.ndarray) -> FaceMask:
    """The classes around the face with these points of a picture, uint8 (H, W, 3) RGB.

    Each pixel of the picture takes the class of the crop's nearest pixel; InputError where the points are no face's.
    """
    matrix_23 = similarity(points_52, HEAD_52)
    crop = crop_of(pixels_HWC, matrix_23, SIZE)
    classes_SS = parser(crop.pixels_SSC)
    corners_42 = crop.in_picture(np.array([[0, 0], [SIZE, 0], [0, SIZE], [SIZE, SIZE]]) - 0.5)
    end_2 = np.array(pixels_HWC.shape[1::-1])
    left, top = np.floor(corners_42.min(0)).astype(int).clip(0, end_2 - 1).tolist()
    right, low = np.ceil(corners_42.max(0)).astype(int).clip(0, end_2 - 1).tolist()
    y_HW, x_HW = np.mgrid[top : low + 1, left : right + 1]
    column_HW, row_HW = (np.rint(m[0] * x_HW + m[1] * y_HW + m[2]).astype(np.int64) for m in matrix_23)
    inside_HW = (column_HW >= 0) & (column_HW < SIZE) & (row_HW >= 0) & (row_HW < SIZE)
    seen_HW = classes_SS[row_HW.clip(0, SIZE - 1), column_HW.clip(0, SIZE - 1)]
    by = Path(getattr(parser, "facts", {}).get("file", "the parser")).name
    return FaceMask(np.where(inside_HW, seen_HW, 0).astype(np.uint8), left, top, by)
