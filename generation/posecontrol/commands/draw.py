"""Draw a pose set of people who do not exist, with exact poses."""

from __future__ import annotations

import argparse

from generation.posecontrol.drawing import FIXED, VARIED, DrawnSet, draw_set
from recognition.records.commands.arguments import add_new_folder, add_seed, require_workers


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The folder, how much is drawn, and how it looks."""
    add_new_folder(parser)
    add = parser.add_argument
    add("--people", type=int, default=DrawnSet.people, help="default: %(default)s")
    add("--fronts", type=int, default=DrawnSet.fronts, help="sources of each person (default: %(default)s)")
    add("--frames", type=int, default=DrawnSet.frames, help="targets of each person (default: %(default)s)")
    add("--size", type=int, default=DrawnSet.size, help="pixels square (default: %(default)s)")
    add("--widest-yaw", type=float, default=DrawnSet.widest_yaw_deg, help="degrees (default: %(default)s)")
    add("--widest-pitch", type=float, default=DrawnSet.widest_pitch_deg, help="degrees (default: %(default)s)")
    add(
        "--scene",
        choices=(FIXED, VARIED),
        default=FIXED,
        help="fixed: all but the pose is the same in a person's pictures (default); varied: light and backdrop, too",
    )
    add("--masks", action="store_true", help="write the classes of the pixels, too")
    add("--workers", type=int, help="processes (default: one for each core)")
    add_seed(parser)


def run(given: argparse.Namespace) -> None:
    """Draw, and say how much."""
    require_workers(given.workers)
    drawn = DrawnSet(
        people=given.people,
        fronts=given.fronts,
        frames=given.frames,
        size=given.size,
        seed=given.seed,
        widest_yaw_deg=given.widest_yaw,
        widest_pitch_deg=given.widest_pitch,
        scene=given.scene,
    )
    counts = draw_set(given.out, drawn, workers=given.workers, masks=given.masks)
    print(f"drawn: {given.people} people, {counts['front']} sources and {counts['video']} targets in {given.out}")
