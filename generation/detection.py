"""Which face in a picture is meant, and where it is: found by a detector, or known beforehand. No gradient passes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from generation.packs import detector_of
from recognition.errors import InputError
from recognition.faces.detection import Detector
from recognition.faces.opening import open_detector
from recognition.faces.photos import LARGEST, choose, faces_in_view, views

MIN_SCORE = 0.5


@dataclass(frozen=True, eq=False)
class Found:
    """A face in pixels of its picture (see alignment.py), float32 on the CPU: box (x1, y1, x2, y2) and five points.

    `points_52`: eyes, nose, mouth corners, those on the left of the picture first; None where they are not known.
    """

    box_4: Tensor
    points_52: Tensor | None = None
    score: float = 1.0


class FaceFinder(Protocol):
    """Finds the face that is meant in each picture of a batch. `repr` names all that its finds depend on."""

    def __call__(self, img01_BCHW: Tensor, keys: Sequence[str] | None = None) -> list[Found | None]:
        """The face in each RGB picture in [0, 1] (B, 3, H, W), None where there is none; `keys` name the pictures."""
        ...


class DetectorFinder:
    """The largest face that a detector finds; a picture that a face fills is shown to it with a border as well."""

    def __init__(self, detector: Detector) -> None:
        self.detector = detector

    def __repr__(self) -> str:
        return f"DetectorFinder({self.detector!r})"

    @torch.no_grad()
    def __call__(self, img01_BCHW: Tensor, keys: Sequence[str] | None = None) -> list[Found | None]:
        """See FaceFinder; what is beyond [0, 1] or no number is cut off first, as a picture's file would have it."""
        pixels_BHWC = (img01_BCHW.detach().float().nan_to_num(0).clamp(0, 1) * 255).round().byte()
        return [self._largest(pixels_HWC) for pixels_HWC in pixels_BHWC.permute(0, 2, 3, 1).cpu().numpy()]

    def _largest(self, pixels_HWC: np.ndarray) -> Found | None:
        pixels_HWC = np.ascontiguousarray(pixels_HWC)
        for view in views(*pixels_HWC.shape[:2]):
            faces = faces_in_view(self.detector, pixels_HWC, view)
            if faces:
                face = choose(faces, LARGEST, *pixels_HWC.shape[:2])
                return Found(torch.from_numpy(face.box_4), torch.from_numpy(face.points_52), face.score)
        return None


class PrecomputedFinder:
    """Faces that are known by the names of their pictures; None stands for a picture without one."""

    def __init__(self, faces: Mapping[str, Found | None], where: str = "the boxes given") -> None:
        self.faces, self.where = dict(faces), where

    def __repr__(self) -> str:
        return f"PrecomputedFinder({self.where}, {len(self.faces)} pictures)"

    def __call__(self, img01_BCHW: Tensor, keys: Sequence[str] | None = None) -> list[Found | None]:
        """See FaceFinder; InputError for a picture without a name, or of a name that is not known."""
        if keys is None or len(keys) != len(img01_BCHW):
            raise InputError(f"{self.where} are known by name, and these {len(img01_BCHW)} pictures have none")
        for key in keys:
            if key not in self.faces:
                raise InputError(f"{self.where}: nothing is known of {key!r}; add it, null where it shows no face")
        return [self.faces[key] for key in keys]

    @classmethod
    def read(cls, path: Path) -> PrecomputedFinder:
        """From JSON: {"NAME": {"box": [x1, y1, x2, y2], "points": [[x, y], five times] or absent}, or null}."""
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            if not isinstance(content, dict):
                raise ValueError("it is no object of names")
            return cls({name: known_face(name, entry) for name, entry in content.items()}, str(path))
        except OSError as error:
            raise InputError(f"{path} cannot be read ({error.strerror}); name a file of boxes") from error
        except (ValueError, TypeError, KeyError) as error:
            raise InputError(f"{path} is no file of boxes ({error})") from error


class WholePicture:
    """Pictures that are crops of faces already: the box is the whole picture."""

    def __repr__(self) -> str:
        return "WholePicture()"

    def __call__(self, img01_BCHW: Tensor, keys: Sequence[str] | None = None) -> list[Found | None]:
        """See FaceFinder."""
        height, width = img01_BCHW.shape[2:]
        box_4 = torch.tensor([-0.5, -0.5, width - 0.5, height - 0.5])
        return [Found(box_4)] * len(img01_BCHW)


def known_face(name: str, entry: Any) -> Found | None:
    """A face as JSON has it, null for none; ValueError, TypeError or KeyError where it says something else."""
    if entry is None:
        return None
    box_4 = torch.tensor(entry["box"], dtype=torch.float32)
    points = entry.get("points")
    points_52 = None if points is None else torch.tensor(points, dtype=torch.float32)
    if box_4.shape != (4,) or not torch.isfinite(box_4).all() or (box_4[2:] <= box_4[:2]).any():
        raise ValueError(f"the box of {name!r} is {entry['box']}; give x1 < x2 and y1 < y2")
    if points_52 is not None and (points_52.shape != (5, 2) or not torch.isfinite(points_52).all()):
        raise ValueError(f"the points of {name!r} are {points}; give five of x and y")
    return Found(box_4, points_52)


def open_finder(
    spec: str | PathLike, root: str | PathLike | None = None, *, device: str = "cpu", min_score: float = MIN_SCORE
) -> FaceFinder:
    """A detector's .onnx file (YuNet, SCRFD, CenterFace), a pack or its folder (`packs.py`), or a .json of boxes.

    InputError that says what is missing and where it comes from; nothing is downloaded.
    """
    path = Path(spec).expanduser()
    if path.suffix == ".json":
        return PrecomputedFinder.read(path)
    if path.suffix != ".onnx":
        path = detector_of(spec, root)
    return DetectorFinder(open_detector(path, device=device, min_score=min_score))
