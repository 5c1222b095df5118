"""Turn the faces of a training set to other poses: a record set of the same people, for launch/train.py."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch

from generation.posecontrol.control_net import ImageControlNet
from generation.posecontrol.pose_files import FRONT, metadata_path
from generation.posecontrol.pose_set import PoseSet, read_pose_set
from generation.posecontrol.rotating import BATCH, Turns, jpeg_of, png_of, write_turned
from recognition.data.recordio import rec_path
from recognition.data.sources import FileSource, RecordSource, Source
from recognition.errors import InputError
from recognition.records.commands.arguments import add_new_folder
from recognition.records.layout import name_problem, read_names
from recognition.records.listing import list_folder
from recognition.runtime import pick_device


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The model, the pictures, the folder, and the poses."""
    add = parser.add_argument
    add("checkpoint", type=Path, help="checkpoint or run of launch/controlnet.py")
    add(
        "source",
        type=Path,
        help="train.rec or its folder; a pose set, of which the sources are taken; or a folder of aligned pictures for "
        "each person",
    )
    add_new_folder(parser)
    add("--yaws", type=float, nargs="+", default=Turns.yaws_deg, help="degrees (default: -60 -40 40 60)")
    add("--pitches", type=float, nargs="+", default=Turns.pitches_deg, help="degrees (default: 0)")
    add("--only-rotated", action="store_true", help="leave the pictures themselves out")
    add("--quality", type=int, default=95, help="of the JPEGs (default: 95)")
    add("--png", action="store_true", help="PNGs instead, which keep every pixel")
    add("--recogniser", help="the model's encoder, if it is not where it was")
    add("--batch_size", type=int, default=BATCH, help="pictures made at once (default: %(default)s)")
    add("--device", default="auto", help="auto, cpu, cuda or cuda:N (default: auto)")
    add("--threads", type=int, default=0, help="CPU threads; 0: torch's own choice")


def run(given: argparse.Namespace) -> None:
    """Turn, and say how many pictures there are."""
    if not 1 <= given.quality <= 100:
        raise InputError(f"--quality {given.quality} must be 1 to 100")
    if given.threads:
        torch.set_num_threads(given.threads)
    turns, device = Turns(tuple(given.yaws), tuple(given.pitches)), pick_device(given.device)
    model = ImageControlNet.open(given.checkpoint, recogniser=given.recogniser, device=device)
    source, names = _opened(given.source)
    count = write_turned(
        model,
        source,
        given.out,
        turns,
        names=names,
        keep_originals=not given.only_rotated,
        encode=png_of if given.png else partial(jpeg_of, quality=given.quality),
        batch_size=given.batch_size,
        device=device,
    )
    print(f"turned: {len(source)} pictures of {source.num_classes} people are {count} now, in {given.out}")


def _opened(path: Path) -> tuple[Source, Sequence[str] | None]:
    """The pictures, and the names of the people where they have some."""
    if metadata_path(path, FRONT).is_file():
        return _sources_of(read_pose_set(path))
    if (rec := rec_path(path)).is_file():
        source = RecordSource(rec)
        return source, read_names(source.reader)
    listing = list_folder(path)
    return listing.source, listing.names


def _sources_of(pose_set: PoseSet) -> tuple[Source, list[str]]:
    names, labels_N = np.unique(pose_set.front.people, return_inverse=True)
    for name in names.tolist():
        if problem := name_problem(name):
            raise InputError(f"a person of the set is called {name!r}, {problem}; a record set needs another name")
    paths = [str(path) for path in pose_set.front.paths]
    return FileSource(paths, labels_N, num_classes=len(names)), names.tolist()
