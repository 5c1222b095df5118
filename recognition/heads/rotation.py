"""Pose of a head as three angles and as a rotation matrix, in InsightFace's convention.

The frame has x to the picture's right, y down and z towards the viewer; a point of the head turns as R p, with
R = Rz(roll) Ry(yaw) Rx(pitch) ("xyz" extrinsic). A head with positive pitch looks up, with positive yaw to the
picture's right, with positive roll it leans clockwise. Frame and signs are those of the mean shape that InsightFace
fits (`meanshape_68`) and of its `matrix2angle`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

# Below this cosine of the yaw, pitch and roll turn about one axis and only their difference is known.
_LOCKED = 1e-6


def rotation_of(pose_deg: Sequence[float]) -> np.ndarray:
    """The matrix R, float64 (3, 3), of (pitch, yaw, roll) in degrees."""
    (sin_x, cos_x), (sin_y, cos_y), (sin_z, cos_z) = (_sin_cos(angle) for angle in pose_deg)
    return np.array(
        [
            [cos_z * cos_y, cos_z * sin_y * sin_x - sin_z * cos_x, cos_z * sin_y * cos_x + sin_z * sin_x],
            [sin_z * cos_y, sin_z * sin_y * sin_x + cos_z * cos_x, sin_z * sin_y * cos_x - cos_z * sin_x],
            [-sin_y, cos_y * sin_x, cos_y * cos_x],
        ]
    )


def pose_of(rotation_33: np.ndarray) -> np.ndarray:
    """(pitch, yaw, roll) in degrees, float64 (3,), of a rotation matrix; at a yaw of +-90 degrees roll is called 0."""
    turn = np.asarray(rotation_33, np.float64)
    level = math.hypot(turn[0, 0], turn[1, 0])
    if level > _LOCKED:
        pitch, roll = math.atan2(turn[2, 1], turn[2, 2]), math.atan2(turn[1, 0], turn[0, 0])
    else:
        pitch, roll = math.atan2(-turn[1, 2], turn[1, 1]), 0.0
    return np.rad2deg([pitch, math.atan2(-turn[2, 0], level), roll])


def _sin_cos(angle_deg: float) -> tuple[float, float]:
    # Rounded, because the last bit of a sine differs between C libraries.
    angle = math.radians(angle_deg)
    return round(math.sin(angle), 12), round(math.cos(angle), 12)
