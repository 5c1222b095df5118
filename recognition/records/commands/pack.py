"""Folder per identity, .lst or CSV -> OUT/train.rec, train.idx, property in InsightFace's layout."""

from __future__ import annotations

import argparse
from pathlib import Path

from recognition.records.commands.arguments import add_encoding
from recognition.records.encode import Encoder
from recognition.records.listing import list_images
from recognition.records.packing import FAILURES, pack


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What to pack, where to, and how."""
    parser.add_argument(
        "source",
        type=Path,
        help="folder of folders; or list: index<TAB>label<TAB>path in each line; or CSV with the columns path and "
        "label (0, 1, 2, ...) or name, others are ignored",
    )
    parser.add_argument(
        "out",
        type=Path,
        help="folder to write; a set that is there is replaced when all went well. Stopped or killed, the same command "
        "goes on where it was",
    )
    parser.add_argument("--root", type=Path, help="what paths in a list or CSV are relative to (default: its folder)")
    parser.add_argument("--skip-bad", action="store_true", help=f"leave damaged pictures out; {FAILURES} lists them")
    parser.add_argument("--workers", type=int, help="threads; any number gives the same set (default: cores + 4)")
    add_encoding(parser)


def run(given: argparse.Namespace) -> None:
    """Pack, and say what was packed."""
    listing = list_images(given.source, root=given.root)
    prepare = Encoder(given.image_size, given.fit, given.quality)
    packed = pack(listing, given.out, prepare=prepare, skip_bad=given.skip_bad, workers=given.workers)
    print(f"packed {packed.num_images} images of {packed.num_classes} identities into {packed.path}")
    if packed.failures:
        first = packed.failures[0]
        listed = f"{packed.path.with_name(FAILURES)} lists them, first {first.path}: {first.reason}"
        print(f"note: {len(packed.failures)} pictures were left out; {listed}")
    for remark in packed.remarks:
        print(f"note: {remark}")
