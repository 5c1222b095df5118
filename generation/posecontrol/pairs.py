"""Which people are trained on, validated and tested, and which pictures of a person make a pair."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from generation.pose import geodesic_deg, rotation_matrices
from generation.posecontrol.pose_set import PoseSet
from recognition.atomic import write_text
from recognition.errors import InputError
from recognition.permutation import permutation_keys, permute

SPLIT = "split.json"
PARTS = ("train", "val", "test")
SHARES = (0.7, 0.15, 0.15)
_SPLITTING = int.from_bytes(b"split", "big")


@dataclass(frozen=True)
class Split:
    """Names of people, each in one part only."""

    train: tuple[str, ...]
    val: tuple[str, ...]
    test: tuple[str, ...]
    seed: int

    def write(self, path: Path) -> None:
        """As JSON that `read_split` reads."""
        write_text(path, json.dumps(asdict(self), indent=1, ensure_ascii=False) + "\n")


@dataclass(frozen=True, eq=False)
class Pairs:
    """Rows of `PoseSet.front` and `PoseSet.video` that belong together, int64, and their angle in degrees, float64."""

    front_P: np.ndarray
    video_P: np.ndarray
    angle_P: np.ndarray


def split_people(people: Iterable[str], *, seed: int, shares: Sequence[float] = SHARES) -> Split:
    """People by chance, which hangs on the seed and on who they are; at least one to train and one to validate.

    With three people or more there is one to test as well. InputError for fewer than two.
    """
    names = sorted(set(people))
    if len(names) < 2:
        raise InputError(f"{len(names)} person has pairs: one is needed to train on and another to validate")
    order = permute(np.arange(len(names)), len(names), permutation_keys(_SPLITTING, seed))
    names = [names[place] for place in order]
    val = max(1, round(shares[1] * len(names)))
    test = max(1, round(shares[2] * len(names))) if len(names) > 2 else 0
    parts = names[val + test :], names[:val], names[val : val + test]
    return Split(*(tuple(sorted(part)) for part in parts), seed)


def split_of(data_dir: Path, pose_set: PoseSet, *, seed: int) -> Split:
    """That which lies in the set, else one by the seed; InputError as of `read_split` and `split_people`."""
    stored = data_dir / SPLIT
    return read_split(stored, pose_set) if stored.is_file() else split_people(pose_set.people(), seed=seed)


def read_split(path: Path, pose_set: PoseSet) -> Split:
    """A split that was written; InputError for one that is damaged, or does not fit the people of the set."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        parts = {part: tuple(content[part]) for part in PARTS}
        if not all(isinstance(name, str) for part in parts.values() for name in part):
            raise ValueError("names must be texts")
        split = Split(**parts, seed=int(content.get("seed", 0)))
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror})") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path} is no split ({error}): it has lists of names: {', '.join(PARTS)}") from error
    require_fit(split, pose_set, path)
    return split


def require_fit(split: Split, pose_set: PoseSet, where: Path) -> None:
    """InputError where a person is in two parts, or not in the set, or where nobody is to train or to validate."""
    known, seen = {*pose_set.front.people, *pose_set.video.people}, {}
    for part in PARTS:
        for name in getattr(split, part):
            if name in seen:
                raise InputError(f"{where}: {name!r} is in {seen[name]} and in {part}; a person belongs to one part")
            if name not in known:
                raise InputError(f"{where}: {name!r} in {part} is not in the set; take the name out")
            seen[name] = part
    if not split.train or not split.val:
        raise InputError(f"{where}: nobody is to {'train' if not split.train else 'val'}; name at least one")


def pairs_of(
    pose_set: PoseSet, people: Iterable[str], *, min_angle_deg: float = 5.0, max_angle_deg: float = 90.0
) -> Pairs:
    """All sources with all targets of the same person whose poses are that far apart, by source and then target."""
    front, video = pose_set.front, pose_set.video
    rows_of: dict[str, list[int]] = {}
    for row, person in enumerate(video.people):
        rows_of.setdefault(person, []).append(row)
    wanted = set(people)
    found = [
        (row, rows_of[person]) for row, person in enumerate(front.people) if person in wanted and person in rows_of
    ]
    front_P = np.repeat([row for row, _ in found], [len(rows) for _, rows in found]).astype(np.int64)
    video_P = np.array([row for _, rows in found for row in rows], np.int64)
    front_N33, video_N33 = (rotation_matrices(torch.from_numpy(each.pose_N3)) for each in (front, video))
    angle_P = geodesic_deg(front_N33[front_P], video_N33[video_P]).numpy()
    kept_P = (angle_P >= min_angle_deg) & (angle_P <= max_angle_deg)
    return Pairs(front_P[kept_P], video_P[kept_P], angle_P[kept_P])
