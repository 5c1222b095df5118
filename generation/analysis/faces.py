"""All that is known of one face in a picture, and how a file says it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from generation.analysis.gender_age import GenderAge
from generation.analysis.landmarks import Landmarks
from generation.analysis.parts import FaceMask

SMALL_PIXELS, TURNED_YAW_DEG, TURNED_PITCH_DEG, UNSURE_SCORE = 32, 45.0, 30.0, 0.6


@dataclass(frozen=True)
class Pose:
    """Pitch, yaw and roll in degrees (generation/pose.py), and what they were taken from."""

    pitch_yaw_roll_deg: tuple[float, float, float]
    by: str


@dataclass(frozen=True, eq=False)
class AnalysedFace:
    """In pixels of the upright picture: `box_4` x1, y1, x2, y2; `points_52` eyes, nose, mouth corners, left ones first.

    What no model was given for is None or empty. `landmarks`: by kind. `embedding_D`: float32 of length 1. `notes`: why
    the rest may be worse than usual.
    """

    box_4: np.ndarray
    score: float
    points_52: np.ndarray | None = None
    landmarks: dict[str, Landmarks] = field(default_factory=dict)
    gender_age: GenderAge | None = None
    pose: Pose | None = None
    mask: FaceMask | None = None
    embedding_D: np.ndarray | None = None
    notes: tuple[str, ...] = ()

    def facts(self) -> dict[str, Any]:
        """For JSON: places to 1/100 pixel, angles to 1/100 degree."""
        said: dict[str, Any] = {"box": _rounded(self.box_4), "score": round(self.score, 4)}
        if self.points_52 is not None:
            said["points"] = _rounded(self.points_52)
        if self.landmarks:
            said["landmarks"] = {kind: _said(entry) for kind, entry in self.landmarks.items()}
        if self.gender_age is not None:
            guess = self.gender_age
            said["gender"] = {"value": guess.gender, "margin": round(guess.margin, 4), "by": guess.by}
            said["age_years"] = {"value": guess.age_years, "by": guess.by}
        if self.pose is not None:
            angles = dict(zip(("pitch_deg", "yaw_deg", "roll_deg"), _rounded(np.array(self.pose.pitch_yaw_roll_deg))))
            said["pose"] = {**angles, "by": self.pose.by}
        if self.mask is not None:
            said["mask"] = {"pixels": self.mask.counts(), "by": self.mask.by}
        if self.embedding_D is not None:
            said["embedding"] = [round(float(value), 6) for value in self.embedding_D]
        return said | {"notes": list(self.notes)}


def notes_of(
    box_4: np.ndarray, score: float, points_plausible: bool, pose: Pose | None, size: tuple[int, int]
) -> tuple[str, ...]:
    """What may make a face's figures worse, in words; `size` is (height, width) of the picture."""
    side = float(min(box_4[2] - box_4[0], box_4[3] - box_4[1]))
    beyond = box_4[0] < -0.5 or box_4[1] < -0.5 or box_4[2] > size[1] - 0.5 or box_4[3] > size[0] - 0.5
    pitch, yaw = pose.pitch_yaw_roll_deg[:2] if pose else (0.0, 0.0)
    said = {
        f"small: {side:.0f} pixels": side < SMALL_PIXELS,
        "reaches beyond the picture": beyond,
        f"the detector is not sure: {score:.2f}": score < UNSURE_SCORE,
        "its five points are not arranged like a face's": not points_plausible,
        f"turned by {abs(yaw):.0f} degrees": abs(yaw) > TURNED_YAW_DEG,
        f"looks {'up' if pitch > 0 else 'down'} by {abs(pitch):.0f} degrees": abs(pitch) > TURNED_PITCH_DEG,
    }
    return tuple(text for text, holds in said.items() if holds)


def _said(landmarks: Landmarks) -> dict[str, Any]:
    depth = {} if landmarks.depth_N is None else {"depth": _rounded(landmarks.depth_N)}
    return {"points": _rounded(landmarks.points_N2), **depth, "by": landmarks.by}


def _rounded(values: np.ndarray) -> list:
    return np.round(values.astype(np.float64), 2).tolist()
