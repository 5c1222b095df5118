"""A detector of red squares that, like a network, knows faces of 10 to 300 pixels with something around them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw
from scipy.ndimage import find_objects, label

from recognition.faces.alignment import TEMPLATE_52
from recognition.faces.detection import Face

SCORE_OF_BLUE = 100  # a square's blue is its score in percent
MARGIN = 2


@dataclass(frozen=True)
class RedFaces:
    """Finds all-red squares (255, 0, score); its points are whole pixels of the picture shown, as poor as they are."""

    min_score: float = 0.3

    def detect(self, pixels_HWC: np.ndarray) -> list[Face]:
        red = (pixels_HWC[..., 0] > 180) & (pixels_HWC[..., 1] < 40)
        faces = []
        for rows, columns in find_objects(label(red)[0]):
            box = np.array([columns.start, rows.start, columns.stop - 1, rows.stop - 1], np.float32)
            side = rows.stop - rows.start
            height, width = red.shape
            surrounded = min(rows.start, columns.start, height - rows.stop, width - columns.stop) >= MARGIN
            score = np.median(pixels_HWC[rows, columns, 2]) / SCORE_OF_BLUE
            if 10 <= side <= 300 and surrounded and score >= self.min_score:
                points = box[:2] + TEMPLATE_52 / 112 * (side - 1)
                faces.append(Face(box, float(score), np.round(points).astype(np.float32)))
        return sorted(faces, key=lambda face: -face.score)


def photo_of(width: int, height: int, *squares: tuple) -> np.ndarray:
    """A grey picture, uint8 (height, width, 3), with squares (x, y, side, score in percent)."""
    image = Image.new("RGB", (width, height), (90, 90, 90))
    for x, y, side, percent in squares:
        ImageDraw.Draw(image).rectangle((x, y, x + side - 1, y + side - 1), fill=(255, 0, percent))
    return np.asarray(image)
