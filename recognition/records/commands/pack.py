"""Folder per identity, .lst or CSV -> OUT/train.rec, train.idx, property in InsightFace's layout."""

from __future__ import annotations

import argparse
from pathlib import Path

from recognition.records.commands.arguments import add_encoding
from recognition.records.commands.faces import add_alignment, open_prepare
from recognition.records.commands.outcome import print_outcome
from recognition.records.failures import CSV
from recognition.records.listing import list_images
from recognition.records.packing import pack


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
    parser.add_argument("--skip-bad", action="store_true", help=f"leave damaged pictures out; {CSV} lists them")
    parser.add_argument("--workers", type=int, help="threads; any number gives the same set (default: cores + 4)")
    add_encoding(parser)
    add_alignment(parser)


def run(given: argparse.Namespace) -> None:
    """Pack, and say what was packed."""
    listing = list_images(given.source, root=given.root)
    packed = pack(listing, given.out, prepare=open_prepare(given), skip_bad=given.skip_bad, workers=given.workers)
    print_outcome("packed", packed)
