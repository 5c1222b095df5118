"""What a face detector gives, and what all detectors share: placing the picture, removing double finds.

Coordinates are pixels of the picture given, x to the right, y down; the centre of the first pixel is (0, 0).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from PIL import Image


@dataclass(frozen=True, eq=False)
class Face:
    """`box_4`: x1, y1, x2, y2; `points_52`: the eye on the left of the picture, the other, nose, mouth corners alike.

    Both float32, and both may reach beyond the picture; `score` in [0, 1].
    """

    box_4: np.ndarray
    score: float
    points_52: np.ndarray

    @property
    def size(self) -> float:
        """Shorter side of the box in pixels."""
        return float(min(self.box_4[2] - self.box_4[0], self.box_4[3] - self.box_4[1]))

    @property
    def area(self) -> float:
        """Of the box, in pixels."""
        return float((self.box_4[2] - self.box_4[0]) * (self.box_4[3] - self.box_4[1]))

    @property
    def center_2(self) -> np.ndarray:
        """x, y of the middle of the box."""
        return (self.box_4[:2] + self.box_4[2:]) / 2

    def placed(self, scale: float, x: float = 0, y: float = 0) -> Face:
        """The face in a picture that is `scale` times as large, and whose first pixel then is the pixel (x, y).

        Pixels are areas: what is at x, counted from the centre of the first pixel, moves to (x + 0.5) * scale - 0.5.
        """
        offset_2 = np.array([x, y], np.float32) + np.float32(0.5 * scale - 0.5)
        points_N2 = np.concatenate([self.box_4.reshape(2, 2), self.points_52]) * np.float32(scale) + offset_2
        return Face(points_N2[:2].ravel(), self.score, points_N2[2:])


class Detector(Protocol):
    """Finds faces; `detect` is called from many threads at once. `repr` names all that its finds depend on."""

    def detect(self, pixels_HWC: np.ndarray) -> list[Face]:
        """Faces in a picture, uint8 (H, W, 3) RGB, the surest first; none is an empty list."""
        ...


def resized(pixels_HWC: np.ndarray, scale: float) -> np.ndarray:
    """The picture, uint8 (H, W, 3), `scale` times as large, smoothed where it gets smaller; sides round to pixels."""
    height, width = (max(1, round(side * scale)) for side in pixels_HWC.shape[:2])
    return np.asarray(Image.fromarray(pixels_HWC).resize((width, height), Image.Resampling.BILINEAR))


def on_canvas(pixels_HWC: np.ndarray, fixed: tuple[int, int] | None, multiple: int) -> tuple[np.ndarray, float]:
    """The picture in the upper left of the black canvas that a network takes, uint8, and the scale it has there.

    `fixed` (height, width): the only size taken, so a larger picture shrinks; None: any `multiple` will do. It never
    grows: a small face may be too small for the network, but a large one may be too large for it as well.
    """
    scale = 1.0
    if fixed is not None:
        scale = min(1.0, fixed[0] / pixels_HWC.shape[0], fixed[1] / pixels_HWC.shape[1])
        pixels_HWC = pixels_HWC if scale == 1 else resized(pixels_HWC, scale)
    height, width = pixels_HWC.shape[:2]
    sides = fixed or (-height % multiple + height, -width % multiple + width)
    canvas_HWC = np.zeros((*sides, 3), np.uint8)
    canvas_HWC[:height, :width] = pixels_HWC
    return canvas_HWC, scale


def strongest(boxes_N4: np.ndarray, scores_N: np.ndarray, *, max_iou: float) -> np.ndarray:
    """Indices, best score first, of the boxes that overlap no better one by more than `max_iou`.

    Greedy non-maximum suppression; overlap is intersection over union, boxes are x1, y1, x2, y2.
    """
    order_N = np.argsort(-scores_N, kind="stable")
    areas_N = (boxes_N4[:, 2] - boxes_N4[:, 0]) * (boxes_N4[:, 3] - boxes_N4[:, 1])
    kept = []
    while len(order_N):
        best, order_N = order_N[0], order_N[1:]
        kept.append(best)
        low_N2 = np.maximum(boxes_N4[order_N, :2], boxes_N4[best, :2])
        high_N2 = np.minimum(boxes_N4[order_N, 2:], boxes_N4[best, 2:])
        shared_N = np.prod(np.maximum(high_N2 - low_N2, 0), axis=1)
        order_N = order_N[shared_N <= max_iou * (areas_N[order_N] + areas_N[best] - shared_N)]
    return np.array(kept, np.int64)


def faces_of_strides(
    boxes: list[np.ndarray], scores: list[np.ndarray], points: list[np.ndarray], *, max_iou: float, scale: float
) -> list[Face]:
    """Finds of each stride, (N, 4), (N,) and (N, 5, 2) on a canvas, as faces of the picture that was placed there."""
    boxes_N4, scores_N, points_N52 = map(np.concatenate, (boxes, scores, points))
    kept = strongest(boxes_N4, scores_N, max_iou=max_iou)
    faces = [Face(boxes_N4[index], float(scores_N[index]), points_N52[index]) for index in kept]
    return faces if scale == 1 else [face.placed(1 / scale) for face in faces]
