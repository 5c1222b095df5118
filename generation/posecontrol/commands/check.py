"""Read a pose set as training does, decode all its pictures, and say what is in it and what is left out."""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path

import numpy as np

from generation.pictures import read_pixels
from generation.posecontrol.pairs import pairs_of
from generation.posecontrol.pose_set import read_pose_set
from recognition.data.threads import map_in_order
from recognition.errors import InputError
from recognition.records.commands.arguments import add_json, write_json

BIN_DEG = 15
TOLD = 10


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The set."""
    parser.add_argument("data_dir", type=Path, help="folder of the four files")
    parser.add_argument("--image_dir", type=Path, help="folder of the pictures, where it is another one")
    parser.add_argument("--legacy_pose_order", action="store_true", help="take files that do not say their order")
    add_json(parser)


def run(given: argparse.Namespace) -> None:
    """Print what is in the set; InputError where a picture cannot be decoded."""
    pose_set = read_pose_set(given.data_dir, given.image_dir, legacy_pose_order=given.legacy_pose_order)
    people = pose_set.people()
    pairs = pairs_of(pose_set, people)
    bins = Counter((np.abs(pose_set.video.pose_N3[pairs.video_P, 1]) // BIN_DEG * BIN_DEG).astype(int).tolist())
    reasons = Counter(each.reason.partition(":")[0] for each in pose_set.left_out)
    damaged = _damaged(sorted({*pose_set.front.paths, *pose_set.video.paths}))
    facts = {
        "people": len(people),
        "sources": len(pose_set.front.paths),
        "targets": len(pose_set.video.paths),
        "pairs": len(pairs.front_P),
        "pairs_by_yaw_of_the_target": {f"{low}-{low + BIN_DEG}": bins[low] for low in sorted(bins)},
        "left_out": dict(reasons),
        "damaged": damaged,
        "sha256": pose_set.sha256,
    }
    write_json(given.json, facts)
    print(f"{facts['people']} people, {facts['sources']} sources, {facts['targets']} targets, {facts['pairs']} pairs")
    for name, count in facts["pairs_by_yaw_of_the_target"].items():
        print(f"  target's yaw {name} degrees: {count} pairs")
    for reason, count in reasons.most_common():
        print(f"left out: {count} {reason}")
    for each in pose_set.left_out[:TOLD]:
        print(f"  {each.where}: {each.reason}")
    if damaged:
        more = f" and {len(damaged) - 1} more" if len(damaged) > 1 else ""
        raise InputError(f"{damaged[0]}{more} cannot be decoded; restore them, or take them out of the set")


def _damaged(paths: list[Path]) -> list[str]:
    def is_damaged(path: Path) -> bool:
        try:
            read_pixels(path, 16, fills=True)
        except (InputError, OSError):
            return True
        return False

    return [str(path) for path, bad in zip(paths, map_in_order(is_damaged, paths)) if bad]
