"""Draw faces of people who do not exist, with attributes, in CelebA's layout."""

from __future__ import annotations

import argparse

from generation.stargan.drawing import ALIGNED, HEAD, DrawnFaces, draw_faces
from recognition.records.commands.arguments import add_new_folder, add_seed, require_workers


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The folder, how much is drawn, and how it looks."""
    add_new_folder(parser)
    add = parser.add_argument
    add("--pictures", type=int, default=DrawnFaces.pictures, help="each of somebody else (default: %(default)s)")
    add("--size", type=int, default=DrawnFaces.size, help="pixels square (default: %(default)s)")
    add("--widest-yaw", type=float, default=DrawnFaces.widest_yaw_deg, help="degrees (default: %(default)s)")
    add("--framing", choices=(HEAD, ALIGNED), default=HEAD, help="head and shoulders (default), or the aligned face")
    add("--masks", action="store_true", help="write the classes of the pixels, too (launch/parsing.py trains on them)")
    add("--workers", type=int, help="processes (default: one for each core)")
    add_seed(parser)


def run(given: argparse.Namespace) -> None:
    """Draw, and say what there is."""
    require_workers(given.workers)
    drawn = DrawnFaces(given.pictures, given.size, given.seed, given.widest_yaw, framing=given.framing)
    shares = draw_faces(given.out, drawn, workers=given.workers, masks=given.masks)
    told = ", ".join(f"{name} {share:.0%}" for name, share in shares.items())
    print(f"drawn: {given.pictures} pictures in {given.out}; {told}")
