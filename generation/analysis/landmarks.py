"""Landmarks of a face, 106 or 68 of them, by models that look at a square around it.

The 68 are iBUG's: jaw 0 to 16, brows to 26, nose to 35, eyes to 47, mouth to 67.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np
import torch

from generation.analysis.crops import CropModel, crop_of, insightface_matrix, open_crop_model
from generation.pose import STANDARD_53, kabsch, pose_angles, rotation_matrices
from recognition.embedding.network import file_sha256
from recognition.errors import InputError

IN_106, IN_68_3D, IN_68 = "106", "68 in 3D", "68"
# Numbers that each model puts out -> the side of its crop where the file leaves it open.
SIZES = {212: 192, 3309: 192, 136: 112}
KINDS = {212: IN_106, 3309: IN_68_3D, 136: IN_68}
PFLD_MARGIN = 1.2
# InsightFace calls frontal what its 68 landmarks' mean shape shows. Its eyes, nose tip and mouth corners, fitted as
# `pose_of_68` fits them, look up by so many degrees against the standard face of generation/pose.py.
ZERO_PITCH_DEG = 6.8


@dataclass(frozen=True, eq=False)
class Landmarks:
    """`points_N2` in pixels of the picture, float64; `depth_N` towards the viewer in pixels, where the model says it.

    `by`: the file that they come from.
    """

    points_N2: np.ndarray
    by: str
    depth_N: np.ndarray | None = None


class LandmarkModel(Protocol):
    """`kind`: IN_106, IN_68_3D or IN_68; `facts` (JSON) is what is known of the model."""

    kind: str
    facts: dict[str, str]

    def __call__(self, pixels_HWC: np.ndarray, box_4: np.ndarray) -> Landmarks:
        """The landmarks of the face in that box x1, y1, x2, y2 of a picture, uint8 (H, W, 3) RGB."""
        ...


@dataclass(frozen=True, eq=False)
class OnnxLandmarks:
    """InsightFace's 2d106det or 1k3d68, or a PFLD with 68 landmarks, as `CropModel` tells them apart by their width."""

    model: CropModel

    @property
    def kind(self) -> str:
        return KINDS[self.model.width]

    @property
    def facts(self) -> dict[str, str]:
        return {"landmarks": self.kind, "file": self.model.path.name, "sha256": self.model.sha256}

    def __call__(self, pixels_HWC: np.ndarray, box_4: np.ndarray) -> Landmarks:
        """See LandmarkModel."""
        read = _pfld if self.kind == IN_68 else _insightface
        points_N2, depth_N = read(self.model, pixels_HWC, box_4)
        return Landmarks(points_N2, self.model.path.name, depth_N)


def _insightface(model: CropModel, pixels_HWC: np.ndarray, box_4: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """-1 to 1 are the crop's first and last edge, counted from 0 to S; of several shapes in the vector the last."""
    half = model.size // 2
    crop = crop_of(pixels_HWC, insightface_matrix(box_4, model.size), model.size)
    values_NC = model(crop.pixels_SSC).reshape(-1, 3 if model.width == 3309 else 2)
    values_NC = values_NC[-68:] if model.width == 3309 else values_NC
    depth_N = values_NC[:, 2] * half / crop.scale if model.width == 3309 else None
    return crop.in_picture((values_NC[:, :2] + 1) * half), depth_N


def _pfld(model: CropModel, pixels_HWC: np.ndarray, box_4: np.ndarray) -> tuple[np.ndarray, None]:
    """0 to 1 are the places of the first pixel in the square, and one beyond its last, as the published script has it.

    The square is 1.2 times as long as the shorter side of the box, and resized as pictures are: edges meet edges.
    """
    matrix_23 = pfld_matrix(box_4, model.size)
    crop = crop_of(pixels_HWC, matrix_23, model.size)
    places_N2 = model(crop.pixels_SSC).reshape(-1, 2) * model.size + (crop.scale - 1) / 2
    return crop.in_picture(places_N2), None


def pfld_matrix(box_4: np.ndarray, size: int) -> np.ndarray:
    """From the picture to the square that PFLD looks at, (2, 3)."""
    box_4 = box_4.astype(np.float64)
    side = PFLD_MARGIN * (box_4[2:] - box_4[:2]).min()
    low_2, scale = (box_4[:2] + box_4[2:] - side) / 2, size / side
    shift_2 = (0.5 - low_2) * scale - 0.5
    return np.array([[scale, 0, shift_2[0]], [0, scale, shift_2[1]]])


@dataclass(frozen=True, eq=False)
class DlibLandmarks:
    """dlib's shape predictor of 68 landmarks."""

    predict: Callable[[np.ndarray, np.ndarray], np.ndarray]
    path: Path
    sha256: str
    kind: str = IN_68

    @property
    def facts(self) -> dict[str, str]:
        return {"landmarks": self.kind, "file": self.path.name, "sha256": self.sha256}

    def __call__(self, pixels_HWC: np.ndarray, box_4: np.ndarray) -> Landmarks:
        """See LandmarkModel."""
        return Landmarks(self.predict(pixels_HWC, box_4), self.path.name)


def open_landmarks(path: Path, *, threads: int = 1) -> LandmarkModel:
    """A landmark model from its file: .dat is dlib's, .onnx is told by what it puts out.

    InputError for a file that is not there, is no such model, or needs a package that is not there.
    """
    if path.suffix == ".dat":
        return _open_dlib(path)
    model = open_crop_model(path, "106 or 68 landmarks", SIZES, threads=threads)
    return OnnxLandmarks(replace(model, mean=0.0, std=255.0) if model.width == 136 else model)


def _open_dlib(path: Path) -> DlibLandmarks:
    if not path.is_file():
        raise InputError(f"{path} does not exist; give the file of a model for 68 landmarks")
    try:
        import dlib
    except ImportError as error:
        raise InputError(f"{path} needs dlib: pip install -e '.[dlib]'; an ONNX model does without") from error
    try:
        predictor = dlib.shape_predictor(str(path))
    except RuntimeError as error:
        raise InputError(f"{path} is no shape predictor of dlib ({error}); copy it again") from error
    return DlibLandmarks(partial(_dlib_points, dlib.rectangle, predictor), path, file_sha256(path))


def _dlib_points(rectangle: Callable, predictor: Callable, pixels_HWC: np.ndarray, box_4: np.ndarray) -> np.ndarray:
    """dlib's own detector gives squares from the brows to the chin: the lower square of a box that is higher."""
    x1, y1, x2, y2 = box_4.tolist()
    square = (x1, max(y1, y2 - (x2 - x1)), x2, y2)
    shape = predictor(np.ascontiguousarray(pixels_HWC), rectangle(*(round(side) for side in square)))
    points_N2 = np.array([(point.x, point.y) for point in shape.parts()], np.float64)
    if len(points_N2) != 68:
        raise InputError(f"the predictor of dlib puts out {len(points_N2)} landmarks, not 68; take the one of --models")
    return points_N2


def five_of_68(points_NC: np.ndarray) -> np.ndarray:
    """Eyes, nose tip and mouth corners, those on the left of the picture first, (5, C), of 68 landmarks (68, C)."""
    eyes = [points_NC[36:42].mean(0), points_NC[42:48].mean(0)]
    return np.stack([*eyes, points_NC[30], points_NC[48], points_NC[54]])


def pose_of_68(landmarks: Landmarks) -> np.ndarray:
    """Pitch, yaw, roll in degrees, float64 (3,), of 68 landmarks in 3D, in the frame of generation/pose.py."""
    points_53 = five_of_68(np.column_stack([landmarks.points_N2, landmarks.depth_N]))
    zero_33 = rotation_matrices(torch.tensor([[ZERO_PITCH_DEG, 0, 0]], dtype=torch.float64))[0]
    standard_153 = (STANDARD_53 @ zero_33.T)[None]
    return pose_angles(kabsch(standard_153, torch.from_numpy(points_53)[None]))[0].numpy()
