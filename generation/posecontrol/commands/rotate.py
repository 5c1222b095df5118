"""Turn the faces of a training set to other poses: a record set of the same people, for launch/train.py."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from generation.posecontrol.control_net import ImageControlNet
from generation.posecontrol.rotating import Turns, write_turned
from recognition.data.recordio import NAMES
from recognition.data.sources import open_source
from recognition.errors import InputError
from recognition.records.commands.arguments import add_new_folder
from recognition.records.listing import list_folder


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The model, the pictures, the folder, and the poses."""
    add = parser.add_argument
    add("checkpoint", type=Path, help="checkpoint or run of launch/controlnet.py")
    add("source", type=Path, help="folder of train.rec, or a folder of aligned pictures for each person")
    add_new_folder(parser)
    add("--yaws", type=float, nargs="+", default=Turns.yaws_deg, help="degrees (default: -60 -40 40 60)")
    add("--pitches", type=float, nargs="+", default=Turns.pitches_deg, help="degrees (default: 0)")
    add("--only-rotated", action="store_true", help="leave the pictures themselves out")
    add("--quality", type=int, default=95, help="of the JPEGs (default: 95)")
    add("--recogniser", help="the model's encoder, if it is not where it was")
    add("--threads", type=int, default=0, help="CPU threads; 0: torch's own choice")


def run(given: argparse.Namespace) -> None:
    """Turn, and say how many pictures there are."""
    if not 1 <= given.quality <= 100:
        raise InputError(f"--quality {given.quality} must be 1 to 100")
    if given.threads:
        torch.set_num_threads(given.threads)
    turns = Turns(tuple(given.yaws), tuple(given.pitches))
    model = ImageControlNet.open(given.checkpoint, recogniser=given.recogniser)
    if (given.source / "train.rec").is_file():
        source, names = open_source(given.source), _names(given.source / NAMES)
    else:
        listing = list_folder(given.source)
        source, names = listing.source, listing.names
    count = write_turned(
        model,
        source,
        given.out,
        turns,
        names=names,
        keep_originals=not given.only_rotated,
        quality=given.quality,
    )
    print(f"turned: {len(source)} pictures of {source.num_classes} people are {count} now, in {given.out}")


def _names(path: Path) -> list[str] | None:
    return path.read_text(encoding="utf-8").splitlines() if path.is_file() else None
