"""A picture -> its faces, and of each what the models that were given know of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch

from generation.alignment import usable_points
from generation.analysis.faces import AnalysedFace, Pose, notes_of
from generation.analysis.gender_age import GenderAgeModel, open_gender_age
from generation.analysis.known import KnownFaces
from generation.analysis.landmarks import IN_68_3D, LandmarkModel, Landmarks, open_landmarks, pose_of_68
from generation.analysis.parts import Parser, mask_of
from generation.models import MODELS, model_file, opened_by, pack_file
from generation.packs import ATTRIBUTES, DETECTION, LANDMARKS_3D_68, LANDMARKS_106, PACKS, RECOGNITION, is_pack
from generation.pose import pose_from_points2
from recognition.embedding.models import Embedder, open_embedder
from recognition.errors import InputError
from recognition.faces.alignment import SIZE, align
from recognition.faces.detection import Detector, Face, strongest
from recognition.faces.opening import open_detector
from recognition.faces.photos import CLOSER_BELOW, FAINT_SCORE, closer, faces_in_view, views

MIN_SCORE, MIN_SIZE = 0.5, 12
SAME_FACE_IOU = 0.3
FIVE_POINTS = "the five points"


def find_faces(
    detector: Detector, pixels_HWC: np.ndarray, *, min_score: float = MIN_SCORE, min_size: int = MIN_SIZE
) -> list[Face]:
    """All faces of a picture, uint8 (H, W, 3) RGB, with `min_score` and `min_size` pixels, the surest first.

    The picture is shown as recognition.faces.photos.views has it; a large one as a whole and in more detail, and a face
    that is found in both counts once. Faces of few pixels are looked at again, alone.
    """
    plain, bordered, *finer = views(*pixels_HWC.shape[:2])
    found = [(face, view) for view in (plain, *finer) for face in faces_in_view(detector, pixels_HWC, view)]
    if not any(face.score >= min_score for face, _ in found):
        found += [(face, bordered) for face in faces_in_view(detector, pixels_HWC, bordered)]
    scales = [view.scale for _, view in found]
    faces = []
    for index in _each_once([face for face, _ in found]):
        face = found[index][0]
        if face.score >= min_score and face.size >= min_size:
            faces.append(closer(detector, pixels_HWC, face) if face.size * scales[index] < CLOSER_BELOW else face)
    # Looked at closely, two may turn out to be one.
    return [faces[index] for index in _each_once(faces)]


def _each_once(faces: Sequence[Face]) -> list[int]:
    """Places of the faces that are not a surer one once more, the surest first."""
    if not faces:
        return []
    boxes_N4, scores_N = np.stack([face.box_4 for face in faces]), np.array([face.score for face in faces])
    return strongest(boxes_N4, scores_N, max_iou=SAME_FACE_IOU).tolist()


@dataclass(frozen=True, eq=False)
class Analyser:
    """Calls each model for each face; what is None or empty is left out. `largest`: no face but the largest.

    `device`: where the recogniser is.
    """

    detector: Detector | KnownFaces
    landmarks: Sequence[LandmarkModel] = ()
    gender_age: GenderAgeModel | None = None
    parser: Parser | Callable[[np.ndarray], np.ndarray] | None = None
    recogniser: Embedder | None = None
    min_score: float = MIN_SCORE
    min_size: int = MIN_SIZE
    largest: bool = False
    device: str = "cpu"

    def __post_init__(self) -> None:
        kinds = [model.kind for model in self.landmarks]
        twice = sorted({kind for kind in kinds if kinds.count(kind) > 1})
        if twice:
            raise InputError(f"two models give {twice[0]} landmarks; give one of each kind")
        if not FAINT_SCORE <= self.min_score <= 1:
            raise InputError(f"min score {self.min_score:g} must be {FAINT_SCORE} to 1: below, everything is a face")

    def __call__(self, pixels_HWC: np.ndarray, picture: str = "") -> list[AnalysedFace]:
        """The faces of a picture, uint8 (H, W, 3) RGB, the surest first; `picture` is its name, for known faces."""
        if isinstance(self.detector, KnownFaces):
            faces = self.detector.of(picture)
        else:
            faces = find_faces(self.detector, pixels_HWC, min_score=self.min_score, min_size=self.min_size)
        if self.largest and faces:
            faces = [max(faces, key=lambda face: face.area)]
        return [self.face(pixels_HWC, face) for face in faces]

    def face(self, pixels_HWC: np.ndarray, found: Face) -> AnalysedFace:
        """One face that is found already. Of points that are no face's neither pose, parts nor embedding is taken.

        Points that are not known are NaN.
        """
        known = bool(np.isfinite(found.points_52).all())
        plausible = known and usable_points(torch.from_numpy(found.points_52))
        landmarks = {model.kind: model(pixels_HWC, found.box_4) for model in self.landmarks}
        pose = _pose(landmarks, found.points_52 if plausible else None)
        analysed = AnalysedFace(
            found.box_4,
            found.score,
            found.points_52 if known else None,
            landmarks,
            pose=pose,
            notes=notes_of(found.box_4, found.score, plausible or not known, pose, pixels_HWC.shape[:2]),
        )
        if self.gender_age is not None:
            analysed = replace(analysed, gender_age=self.gender_age(pixels_HWC, found.box_4))
        if self.parser is not None and plausible:
            analysed = replace(analysed, mask=mask_of(self.parser, pixels_HWC, found.points_52))
        if self.recogniser is not None and plausible:
            analysed = replace(
                analysed, embedding_D=_embedding(self.recogniser, pixels_HWC, found.points_52, self.device)
            )
        return analysed

    def facts(self) -> dict[str, Any]:
        """The models, for JSON."""
        said: dict[str, Any] = {"detector": repr(self.detector)}
        said["landmarks"] = [model.facts for model in self.landmarks]
        if self.gender_age is not None:
            said["gender_and_age"] = self.gender_age.facts
        if self.parser is not None:
            said["parser"] = getattr(self.parser, "facts", {})
        if self.recogniser is not None:
            names = ("file", "file_sha256", "network", "channel_order", "mean", "std")
            said["recogniser"] = {name: self.recogniser.facts[name] for name in names if name in self.recogniser.facts}
        return said


def _pose(landmarks: dict[str, Landmarks], points_52: np.ndarray | None) -> Pose | None:
    if IN_68_3D in landmarks:
        return Pose(tuple(pose_of_68(landmarks[IN_68_3D]).tolist()), landmarks[IN_68_3D].by)
    if points_52 is None:
        return None
    return Pose(tuple(pose_from_points2(torch.from_numpy(points_52)[None])[0].tolist()), FIVE_POINTS)


@torch.no_grad()
def _embedding(recogniser: Embedder, pixels_HWC: np.ndarray, points_52: np.ndarray, device: str) -> np.ndarray:
    height, width = recogniser.size or (SIZE, SIZE)
    if height != width:
        raise InputError(f"{recogniser.facts.get('file')} takes {width}x{height} pixels; faces are aligned to squares")
    crop_SSC = align(pixels_HWC, points_52, size=height)
    x_1CSS = torch.from_numpy(crop_SSC).permute(2, 0, 1)[None].float() / 127.5 - 1
    emb_D = recogniser(x_1CSS.to(device))[0].float().cpu().numpy()
    length = float(np.linalg.norm(emb_D))
    if not (np.isfinite(length) and length > 0):
        raise InputError(f"{recogniser.facts.get('file')} gives a face no embedding that has a direction")
    return emb_D / np.float32(length)


def open_analyser(
    *,
    pack: str | PathLike | None = None,
    root: str | PathLike | None = None,
    detector: str | PathLike | None = None,
    landmarks: Sequence[str | PathLike] = (),
    attributes: str | PathLike | None = None,
    parser: str | PathLike | None = None,
    recogniser: str | PathLike | None = None,
    device: str = "cpu",
    **how: Any,
) -> Analyser:
    """An analyser of the models in these files; what a pack has and is not named otherwise comes from the pack.

    Each is a path or a name (generation/models.py, generation/packs.py). `how`: other fields of `Analyser`. InputError
    for a file that is missing, with its address and licence, and for one in the wrong role.
    """
    if pack is not None:
        detector = detector or pack_file(pack, DETECTION, root)
        landmarks = landmarks or [pack_file(pack, task, root) for task in (LANDMARKS_106, LANDMARKS_3D_68)]
        attributes = attributes or pack_file(pack, ATTRIBUTES, root)
        recogniser = recogniser or pack_file(pack, RECOGNITION, root)
    if detector is None:
        raise InputError("give a detector, or a pack that has one; --models lists those that are known")
    threads = torch.get_num_threads()
    return Analyser(
        _opened_detector(opened_by(detector, DETECTION, root), device),
        [open_landmarks(path, threads=threads) for spec in landmarks for path in _landmark_files(spec, root)],
        None if attributes is None else open_gender_age(opened_by(attributes, ATTRIBUTES, root), threads=threads),
        None if parser is None else _opened_parser(parser, root, device),
        None if recogniser is None else open_embedder(_recogniser_file(recogniser, root), device=device),
        device=device,
        **how,
    )


def _landmark_files(spec: str | PathLike, root: str | PathLike | None) -> list[PathLike]:
    """A pack has two."""
    tasks = (LANDMARKS_106, LANDMARKS_3D_68) if is_pack(spec) else (LANDMARKS_106,)
    return [opened_by(spec, task, root) for task in tasks]


def _recogniser_file(spec: str | PathLike, root: str | PathLike | None) -> str | PathLike:
    """A folder is a training run, unless it is a pack's."""
    return pack_file(spec, RECOGNITION, root) if str(spec) in PACKS else spec


def _opened_detector(path: Path, device: str) -> Detector | KnownFaces:
    if path.suffix == ".json":
        return KnownFaces.read(path)
    return open_detector(path, device=device, min_score=FAINT_SCORE)


def _opened_parser(spec: str | PathLike, root: str | PathLike | None, device: str) -> Parser:
    from generation.parsing.opening import open_parser

    return open_parser(model_file(str(spec), root) if str(spec) in MODELS else Path(spec), device=device)
