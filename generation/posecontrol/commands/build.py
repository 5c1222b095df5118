"""Make a pose set of photos or videos: find the face in each, and from its five points the pose."""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path

from generation.posecontrol.building import CROPS, POINTS, Building, build_set
from recognition.errors import InputError
from recognition.faces.arguments import add_finding, found_as
from recognition.records.commands.arguments import add_new_folder


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The pictures, the folder, the detector, and how pictures are cut."""
    parser.add_argument(
        "source", type=Path, help="folder with a folder of photos or videos, or a video, for each person"
    )
    add_new_folder(parser)
    add = parser.add_argument
    add("--crop", choices=CROPS, default=POINTS, help="points: aligned for recognisers (default); box; none")
    add("--size", type=int, default=Building.size, help="pixels square (default: %(default)s)")
    add(
        "--front-within",
        type=float,
        default=Building.front_within_deg,
        help="degrees from frontal that a source may be turned (default: %(default)s)",
    )
    add("--every", type=int, default=Building.every, help="take each N-th frame of a video (default: %(default)s)")
    add("--device", choices=("cpu", "cuda"), default="cpu", help="of the detector (default: cpu)")
    add_finding(parser.add_argument_group("faces"), without="needed")


def run(given: argparse.Namespace) -> None:
    """Build, and say what was left out."""
    from recognition.faces.opening import WHERE_FROM, open_aligner

    if given.detector is None:
        raise InputError(f"--detector FILE.onnx is missing; {WHERE_FROM}")
    if given.every < 1:
        raise InputError(f"--every {given.every}: must be at least 1")
    aligner = open_aligner(given.detector, device=given.device, size=given.size, **found_as(given))
    building = Building(
        aligner, crop=given.crop, size=given.size, front_within_deg=given.front_within, every=given.every
    )
    built = build_set(given.source, given.out, building)
    front, video = built.rows["front"], built.rows["video"]
    people = len({row.person for row in front})
    print(f"built: {people} people, {len(front)} sources and {len(video)} targets in {given.out}")
    failed = [entry["reason"].partition(":")[0] for entries in built.failed.values() for entry in entries]
    for reason, count in Counter(failed).most_common():
        print(f"left out: {count} {reason}; {given.out}/*_failed_images.json names them")
