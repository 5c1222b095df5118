"""A pose set as training takes it: pictures that exist and poses that are numbers; the rest is left out and counted."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from generation.pose import STANDARD_53, pose_from_points3
from generation.posecontrol.pose_files import KINDS, PoseFile, keypoints_path, metadata_path, read_pose_file
from recognition.errors import InputError

NO_PICTURE, NO_NAME, NO_PATH, NO_POSE, ALONE = (
    "no such picture",
    "no person_name",
    "no image_path",
    "no pose",
    "person in one list only",
)
_HASHED_AT_ONCE = 1 << 20


@dataclass(frozen=True, eq=False)
class Views:
    """One of the two lists, without what was left out: people, picture files, poses and points, row by row.

    `pose_N3`: float64 degrees (pitch, yaw, roll); `points_N53`: float32, as in the keypoints file.
    """

    people: tuple[str, ...]
    paths: tuple[Path, ...]
    pose_N3: np.ndarray
    points_N53: np.ndarray


@dataclass(frozen=True)
class LeftOut:
    """A row that is not used: where it is, and the reason, one of this module's words, with its details."""

    where: str
    reason: str


@dataclass(frozen=True, eq=False)
class PoseSet:
    """Sources and targets; `sha256` is that of the four files."""

    front: Views
    video: Views
    left_out: tuple[LeftOut, ...]
    sha256: str

    def people(self) -> list[str]:
        """Those who are in both lists, sorted."""
        return sorted({*self.front.people} & {*self.video.people})


def read_pose_set(data_dir: Path, image_dir: Path | None = None, *, legacy_pose_order: bool = False) -> PoseSet:
    """Read the four files; pictures lie where they say, or below `image_dir`, or below `data_dir`.

    Rows without a picture, a person or a pose are left out, with the reason. InputError as of `read_pose_file`, and
    where nothing is left.
    """
    left_out: list[LeftOut] = []
    roots = [root for root in (image_dir, data_dir) if root is not None]
    for root in roots:
        if not root.is_dir():
            raise InputError(f"{root} is no folder; give that of the four files, or of the pictures")
    views = [
        _views(read_pose_file(data_dir, kind, legacy_pose_order=legacy_pose_order), roots, left_out) for kind in KINDS
    ]
    both = {*views[0].people} & {*views[1].people}
    for kind, each in zip(KINDS, views):
        for person in sorted({*each.people} - both):
            left_out.append(LeftOut(f"{kind} {person}", ALONE))
    if not both:
        counts = Counter(each.reason.partition(":")[0] for each in left_out)
        told = ", ".join(f"{count} {reason}" for reason, count in counts.most_common())
        first = f", first {left_out[0].where} ({left_out[0].reason})" if left_out else ""
        raise InputError(f"{data_dir}: nobody is left who has a source and a target: {told or 'no rows'}{first}")
    return PoseSet(*views, tuple(left_out), _sha256(data_dir))


def _views(file: PoseFile, roots: list[Path], left_out: list[LeftOut]) -> Views:
    poses_N3 = file.poses_N3.copy()
    unknown_N = ~np.isfinite(poses_N3).all(1)
    if unknown_N.any():
        poses_N3[unknown_N] = _from_points(file, unknown_N)
    people, paths, kept = [], [], []
    for index, entry in enumerate(file.entries):
        person, name = entry.get("person_name"), entry.get("image_path") or entry.get("file_path")
        path = _found(name, roots) if isinstance(name, str) and name else None
        if not (isinstance(person, str) and person):
            reason = NO_NAME
        elif not (isinstance(name, str) and name):
            reason = NO_PATH
        elif path is None:
            reason = f"{NO_PICTURE}: {name}"
        elif not np.isfinite(poses_N3[index]).all():
            reason = NO_POSE
        else:
            people.append(person)
            paths.append(path)
            kept.append(index)
            continue
        left_out.append(LeftOut(f"{file.path.name} [{index}]", reason))
    points_N53 = file.points_N53 if len(kept) == len(file.entries) else file.points_N53[kept]
    return Views(tuple(people), tuple(paths), poses_N3[kept], points_N53)


def _from_points(file: PoseFile, rows_N: np.ndarray) -> np.ndarray:
    """Poses of rows that have none, from their points in space; NaN where these are none."""
    points_N53 = np.asarray(file.points_N53[rows_N], np.float64)
    poses_N3 = np.full((len(points_N53), 3), np.nan)
    spread_N = np.ptp(points_N53, axis=1).max(1) if len(points_N53) else np.zeros(0)
    usable_N = np.isfinite(points_N53).all((1, 2)) & (spread_N > 0)
    standard = STANDARD_53 if file.standard_53 is None else torch.from_numpy(file.standard_53)
    if usable_N.any():
        poses_N3[usable_N] = pose_from_points3(torch.from_numpy(points_N53[usable_N]), standard).numpy()
    return poses_N3


def _found(name: str, roots: list[Path]) -> Path | None:
    """The picture file of that name; an absolute one as it stands."""
    return next((path for path in (root / name for root in roots) if path.is_file()), None)


def _sha256(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in (each(folder, kind) for kind in KINDS for each in (metadata_path, keypoints_path)):
        with open(path, "rb") as file:
            while block := file.read(_HASHED_AT_ONCE):
                digest.update(block)
    return digest.hexdigest()
