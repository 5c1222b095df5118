"""Squares cut out around faces for the models that look at one face, and the way back to the picture.

Places are pixels, x to the right, y down, the centre of the first pixel is (0, 0). S: side of a crop in pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime

from recognition.embedding.network import file_sha256
from recognition.embedding.onnx_graph import read_graph
from recognition.errors import InputError
from recognition.faces.alignment import cut
from recognition.onnx_session import open_session

INSIGHTFACE_MARGIN = 1.5
LOOKED_AT, BATCH_NORM_AMONG = 8, 3  # first nodes of a graph, where InsightFace looks for a normalisation


@dataclass(frozen=True, eq=False)
class Crop:
    """`pixels_SSC`: uint8 RGB, black where the picture ends; `matrix_23`: from places in the picture to those in it."""

    pixels_SSC: np.ndarray
    matrix_23: np.ndarray

    @property
    def scale(self) -> float:
        """Pixels of the crop for one of the picture."""
        return float(np.hypot(self.matrix_23[0, 0], self.matrix_23[1, 0]))

    def in_picture(self, points_N2: np.ndarray) -> np.ndarray:
        """Places in the crop as places in the picture, float64."""
        return np.linalg.solve(self.matrix_23[:, :2], (points_N2 - self.matrix_23[:, 2]).T).T


def crop_of(pixels_HWC: np.ndarray, matrix_23: np.ndarray, size: int) -> Crop:
    """The crop of a picture, uint8 (H, W, 3), that a matrix (2, 3) describes."""
    return Crop(cut(pixels_HWC, matrix_23, size), matrix_23)


def insightface_matrix(box_4: np.ndarray, size: int) -> np.ndarray:
    """InsightFace's square for landmarks and attributes, (2, 3): 1.5 times the longer side of the box x1, y1, x2, y2.

    The middle of the box goes to the place `size` / 2.
    """
    box_4 = box_4.astype(np.float64)
    scale = size / (INSIGHTFACE_MARGIN * (box_4[2:] - box_4[:2]).max())
    shift_2 = size / 2 - scale * (box_4[:2] + box_4[2:]) / 2
    return np.array([[scale, 0, shift_2[0]], [0, scale, shift_2[1]]])


@dataclass(frozen=True, eq=False)
class CropModel:
    """An ONNX file from a crop to one vector: it takes (pixel - `mean`) / `std`, RGB, `size` pixels square."""

    path: Path
    session: onnxruntime.InferenceSession
    size: int
    width: int
    mean: float
    std: float
    sha256: str

    def __repr__(self) -> str:
        return f"CropModel({self.path.name}, sha256={self.sha256})"

    def __call__(self, crop_SSC: np.ndarray) -> np.ndarray:
        """The vector (width,), float64, of a crop uint8 (S, S, 3); InputError where it holds what is no number."""
        x_1CSS = ((crop_SSC.astype(np.float32) - self.mean) / self.std).transpose(2, 0, 1)[None]
        feed = {self.session.get_inputs()[0].name: np.ascontiguousarray(x_1CSS, np.float32)}
        values = np.asarray(self.session.run(None, feed)[0], np.float64).reshape(-1)
        if len(values) != self.width or not np.isfinite(values).all():
            raise InputError(f"{self.path} puts out no {self.width} finite numbers for a crop; copy the file again")
        return values


def open_crop_model(path: Path, kind: str, sizes: dict[int, int], *, threads: int = 1) -> CropModel:
    """A model with one picture for input and one vector for output, whose length is one of `sizes`.

    `sizes`: the length of the vector -> the side of the crop where the file leaves it open. Mean and deviation are
    InsightFace's: 0 and 1 where the graph begins with a normalisation, else 127.5 and 128. InputError for a file that
    is not there or is no such model; `kind` says what was wanted.
    """
    if not path.is_file():
        raise InputError(f"{path} does not exist; give the file of a model for {kind}")
    session = open_session(path, threads=threads)
    inputs, outputs = session.get_inputs(), session.get_outputs()
    width = outputs[0].shape[-1] if len(outputs) == 1 and outputs[0].shape else None
    taken = inputs[0].shape if len(inputs) == 1 else []
    if width not in sizes or len(taken) != 4 or taken[1] != 3:
        raise InputError(f"{path} is no model for {kind}: {_said(inputs, outputs)}{_rather(outputs)}")
    if taken[2] != taken[3] and isinstance(taken[2], int) and isinstance(taken[3], int):
        raise InputError(f"{path} takes pictures of {taken[3]}x{taken[2]} pixels; models for {kind} take squares")
    size = taken[2] if isinstance(taken[2], int) and taken[2] > 0 else sizes[width]
    graph = read_graph(path)
    inside = graph is not None and begins_with_normalisation(graph)
    mean, std = (0.0, 1.0) if inside else (127.5, 128.0)
    return CropModel(path, session, size, width, mean, std, file_sha256(path))


def begins_with_normalisation(model: onnx.ModelProto) -> bool:
    """Whether InsightFace would take a graph for one that normalises pixels of 0 to 255 itself, by its nodes' names."""
    names = [node.name for node in model.graph.node[:LOOKED_AT]]
    subtracts = any(name.startswith(("Sub", "_minus")) for name in names)
    multiplies = any(name.startswith(("Mul", "_mul")) for name in names)
    return (subtracts and multiplies) or "bn_data" in names[:BATCH_NORM_AMONG]


def _said(inputs: list, outputs: list) -> str:
    taken = ", ".join(f"{entry.name} {entry.shape}" for entry in inputs[:2])
    given = ", ".join(f"{entry.name} {entry.shape}" for entry in outputs[:3])
    more = f" and {len(outputs) - 3} more" if len(outputs) > 3 else ""
    return f"it takes {taken} and puts out {given}{more}"


def _rather(outputs: list) -> str:
    """What such a file is likely to be."""
    width = outputs[0].shape[-1] if len(outputs) == 1 and outputs[0].shape else None
    if len(outputs) >= 4:
        return "; face detectors do so: give it as --detector"
    words = {3: "gender and age: give it as --attributes", 512: "recognisers: give it as --recogniser"}
    words |= dict.fromkeys((136, 212, 3309), "landmarks: give it as --landmarks")
    return f"; as do models for {words[width]}" if width in words else ""
