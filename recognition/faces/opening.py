"""A face detector from its ONNX file, told by what it puts out, alone or with what aligns the faces."""

from __future__ import annotations

import hashlib
from os import PathLike
from pathlib import Path
from typing import Any

import onnxruntime

from recognition.errors import InputError
from recognition.faces import centerface, yunet
from recognition.faces.centerface import CenterFace
from recognition.faces.detection import Detector
from recognition.faces.photos import FAINT_SCORE, Aligner
from recognition.faces.scrfd import SCRFD
from recognition.faces.yunet import YuNet
from recognition.onnx_session import open_session

# Of scores, box and points, at strides 8, 16 and 32.
SCRFD_COLUMNS = (1, 4, 10)
WHERE_FROM = (
    "take face_detection_yunet_2026may.onnx or face_detection_yunet_2023mar.onnx from the OpenCV Zoo "
    "(github.com/opencv/opencv_zoo, folder models/face_detection_yunet; MIT licence). InsightFace's SCRFD models with "
    "points work too (det_10g.onnx of buffalo_l), but their licence allows non-commercial research only"
)
LFS_POINTER = b"version https://git-lfs"


def open_detector(path: str | PathLike, *, device: str = "cpu", min_score: float = 0.5) -> Detector:
    """YuNet, SCRFD or CenterFace from its file, on `device` "cpu" or "cuda"; faces below `min_score` are not reported.

    Nothing is downloaded. InputError for a file that is not there, is none of them, or cannot run on `device`.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"face detector {path} does not exist; {WHERE_FROM}")
    content = path.read_bytes()
    if content.startswith(LFS_POINTER):
        raise InputError(
            f"{path} is not the model but Git LFS's note of where it is; run `git lfs pull` in the clone that it comes "
            f"from, or download the file itself"
        )
    session = open_session(path, cuda=device == "cuda")
    if device == "cuda" and "CUDAExecutionProvider" not in session.get_providers():
        raise InputError("ONNX Runtime has no GPU here; install onnxruntime-gpu instead of onnxruntime, or use the CPU")
    fixed = _picture_size(session, path)
    outputs, sha256 = session.get_outputs(), hashlib.sha256(content).hexdigest()
    if yunet.OUTPUTS.issubset(output.name for output in outputs):
        return YuNet(session, fixed, sha256=sha256, min_score=min_score)
    # SCRFD's outputs have names by chance, but the last dimension and the order within a kind are always the same.
    kinds = [[output.name for output in outputs if output.shape[-1] == columns] for columns in SCRFD_COLUMNS]
    if all(len(names) == 3 for names in kinds):
        names = [name for stride in zip(*kinds) for name in stride]
        return SCRFD(session, fixed, names, sha256=sha256, min_score=min_score)
    channels = tuple(output.shape[1] if len(output.shape) == 4 else None for output in outputs)
    if channels == centerface.CHANNELS:
        session = open_session(path, content=centerface.freed(path), cuda=device == "cuda")
        return CenterFace(session, [output.name for output in outputs], sha256=sha256, min_score=min_score)
    shapes = ", ".join(f"{output.name} {output.shape}" for output in outputs[:12])
    raise InputError(f"{path} is no face detector known here, it puts out {shapes}; {WHERE_FROM}")


def open_aligner(path: str | PathLike, *, device: str = "cpu", **how: Any) -> Aligner:
    """An `Aligner` with the detector in a file, and its other fields as in `how`; InputError as either has it."""
    return Aligner(open_detector(path, device=device, min_score=FAINT_SCORE), **how)


def _picture_size(session: onnxruntime.InferenceSession, path: Path) -> tuple[int, int] | None:
    """The (height, width) that the network takes, None for any; InputError when its input is no picture."""
    inputs = session.get_inputs()
    if len(inputs) != 1 or len(inputs[0].shape) != 4 or inputs[0].shape[1] != 3:
        taken = ", ".join(f"{entry.name} {entry.shape}" for entry in inputs)
        raise InputError(f"{path} takes {taken}, not one picture N x 3 x H x W: no face detector; {WHERE_FROM}")
    sides = inputs[0].shape[2:]
    return tuple(sides) if all(isinstance(side, int) and side > 0 for side in sides) else None
