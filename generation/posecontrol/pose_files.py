"""The four files of a pose set: two lists of pictures with poses, and the points of each in space.

`front_metadata.json`, `front_keypoints.npy`: sources, near frontal; `video_metadata.json`, `video_keypoints.npy`:
targets, in any pose. Row i of the keypoints, float32 (N, 5, 3), belongs to `metadata[i]`: eyes, nose and mouth corners,
those on the picture's left first, round their mean.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from recognition.atomic import replacing, write_text
from recognition.errors import InputError
from recognition.strict_json import finite

FORMAT = "pose-pairs/1"
FRONT, VIDEO = "front", "video"
KINDS = (FRONT, VIDEO)
ANGLES = ("pitch", "yaw", "roll")
DEGREES, RADIANS = "deg", "rad"
CONVENTION = "xyz-extrinsic, InsightFace matrix2angle"
# What the first version wrote under the names yaw, pitch, roll are, by its own formulas, roll, yaw and pitch.
LEGACY_ORDER = ("roll", "yaw", "pitch")
MAPPED_BYTES = 1 << 28  # keypoints above this are read as they are needed


@dataclass(frozen=True, eq=False)
class PoseRow:
    """A picture of a set: `path` relative to the set; `pose_deg` (pitch, yaw, roll) in it; `points_53` in space.

    `points_52` and `box_4` are in pixels of the picture; None where they are not known.
    """

    person: str
    path: str
    size: tuple[int, int]
    pose_deg: np.ndarray
    points_53: np.ndarray
    points_52: np.ndarray | None = None
    box_4: np.ndarray | None = None
    frame: str | None = None


@dataclass(frozen=True, eq=False)
class PoseFile:
    """One of the two lists as it lies on disk, checked for form: `poses_N3` in degrees, NaN where it has none."""

    path: Path
    entries: Sequence[dict[str, Any]]
    poses_N3: np.ndarray
    points_N53: np.ndarray
    standard_53: np.ndarray | None = field(default=None)


def metadata_path(folder: Path, kind: str) -> Path:
    """Of the list `kind`."""
    return folder / f"{kind}_metadata.json"


def keypoints_path(folder: Path, kind: str) -> Path:
    """Of its points."""
    return folder / f"{kind}_keypoints.npy"


def write_pose_file(folder: Path, kind: str, rows: Sequence[PoseRow]) -> None:
    """Write one of the two lists and its points, each whole or not at all."""
    entries = [
        {
            "person_name": row.person,
            "image_path": row.path,
            "image_size": list(row.size),
            **({} if row.frame is None else {"frame_index": row.frame}),
        }
        for row in rows
    ]
    content: dict[str, Any] = {
        "format": FORMAT,
        "num_samples": len(rows),
        "pose_order": list(ANGLES),
        "pose_unit": DEGREES,
        "pose_convention": CONVENTION,
        "metadata": entries,
        "poses": [row.pose_deg for row in rows],
    }
    for key, name in (("boxes", "box_4"), ("landmarks_2d", "points_52")):
        if all(getattr(row, name) is not None for row in rows):
            content[key] = [getattr(row, name) for row in rows]
    points_N53 = np.array([row.points_53 - row.points_53.mean(0) for row in rows], np.float32).reshape(-1, 5, 3)
    with replacing(keypoints_path(folder, kind)) as partial, open(partial, "wb") as file:
        np.save(file, points_N53, allow_pickle=False)
    write_text(metadata_path(folder, kind), json.dumps(finite(content), allow_nan=False) + "\n")


def read_pose_file(folder: Path, kind: str, *, legacy_pose_order: bool = False) -> PoseFile:
    """Read one of the two lists and its points.

    InputError that names file and numbers for one that is missing, damaged, of another form, or whose lengths differ;
    and, unless `legacy_pose_order`, for one that does not say in which order its angles are.
    """
    path = metadata_path(folder, kind)
    content = _json(path)
    if isinstance(content, list):
        content = {"metadata": content}
    entries = content.get("metadata")
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise InputError(f"{path} has no list of objects under 'metadata'; see the README for the form of the files")
    if content.get("format", FORMAT) != FORMAT:
        raise InputError(f"{path} is of the format {content['format']!r}, not {FORMAT}")
    count = len(entries)
    points_N53 = _points(keypoints_path(folder, kind), count, path)
    for key in ("poses", "boxes", "landmarks_2d"):
        if isinstance(content.get(key), list) and len(content[key]) != count:
            raise InputError(f"{path}: {count} entries under 'metadata' and {len(content[key])} under {key!r}")
    if content.get("num_samples", count) != count:
        raise InputError(f"{path}: num_samples is {content['num_samples']}, and 'metadata' has {count} entries")
    return PoseFile(path, entries, _poses(content, path, count, legacy_pose_order), points_N53, _standard(content))


def _json(path: Path) -> Any:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(
            f"{path} cannot be read ({error.strerror}); a set has {', '.join(f'{k}_metadata.json' for k in KINDS)} and "
            "their _keypoints.npy; launch/poses.py makes one"
        ) from error
    except ValueError as error:
        raise InputError(f"{path} is no JSON ({error}); make the set again") from error
    if not isinstance(content, (dict, list)):
        raise InputError(f"{path} holds {type(content).__name__}, not an object or a list")
    return content


def _points(path: Path, count: int, metadata: Path) -> np.ndarray:
    try:
        # Not numpy.load: this one cannot unpickle.
        points_N53 = np.lib.format.open_memmap(path, "r")
        if points_N53.nbytes <= MAPPED_BYTES:
            points_N53 = np.array(points_N53)
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror or error})") from error
    except (ValueError, EOFError) as error:
        raise InputError(f"{path} is no array of numbers ({error}); make the set again") from error
    if not isinstance(points_N53, np.ndarray) or points_N53.ndim != 3 or points_N53.shape[1:] != (5, 3):
        raise InputError(f"{path} has shape {getattr(points_N53, 'shape', None)}, not (N, 5, 3)")
    if points_N53.dtype.kind != "f":
        raise InputError(f"{path} has numbers of type {points_N53.dtype}, not float32")
    if len(points_N53) != count:
        raise InputError(
            f"{path} has {len(points_N53)} rows, and {metadata.name} {count} entries; they belong together"
        )
    return points_N53


def _poses(content: dict[str, Any], path: Path, count: int, legacy_pose_order: bool) -> np.ndarray:
    """Degrees of pitch, yaw and roll, float64 (N, 3); NaN where there are none."""
    if content.get("poses") is None:
        return np.full((count, 3), np.nan)
    order = content.get("pose_order")
    if order is None and not legacy_pose_order:
        raise InputError(
            f"{path} has poses and no 'pose_order'. Files of the first version call their angles yaw, pitch, roll, but "
            "by its formulas they are roll, yaw, pitch: --legacy_pose_order takes them as these, in degrees; or write "
            f"'pose_order', 'pose_unit' and 'pose_convention' ({CONVENTION}) into the file"
        )
    order = LEGACY_ORDER if order is None else tuple(order)
    if sorted(order) != sorted(ANGLES):
        raise InputError(f"{path}: pose_order is {list(order)}, not some order of {list(ANGLES)}")
    unit, convention = content.get("pose_unit", DEGREES), content.get("pose_convention", CONVENTION)
    if unit not in (DEGREES, RADIANS):
        raise InputError(f"{path}: pose_unit is {unit!r}; use {DEGREES!r} or {RADIANS!r}")
    if convention != CONVENTION:
        raise InputError(f"{path}: pose_convention is {convention!r}; only {CONVENTION!r} is known")
    rows = content["poses"]
    try:
        poses_N3 = np.array([[np.nan] * 3 if row is None else row for row in rows], np.float64).reshape(count, 3)
    except (TypeError, ValueError) as error:
        raise InputError(f"{path}: 'poses' must be {count} rows of three numbers ({error})") from error
    poses_N3 = poses_N3[:, [order.index(angle) for angle in ANGLES]]
    return np.rad2deg(poses_N3) if unit == RADIANS else poses_N3


def _standard(content: dict[str, Any]) -> np.ndarray | None:
    info = content.get("standard_info")
    points = info.get("keypoints_3d") if isinstance(info, dict) else None
    points_53 = None if points is None else np.array(points, np.float64)
    return points_53 if points_53 is not None and points_53.shape == (5, 3) else None
