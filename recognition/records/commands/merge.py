"""Several record sets -> one; the same person in two of them by name or table, images that are in it twice listed."""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

from recognition.data.recordio import rec_path
from recognition.records.commands.arguments import add_new_folder
from recognition.records.commands.outcome import print_outcome
from recognition.records.joining import apart, by_name, by_table
from recognition.records.merging import merge


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The sets, the folder, and who is who."""
    parser.add_argument("rec", type=rec_path, nargs="+", help="each a train.rec, or the folder that holds it")
    add_new_folder(parser)
    who = parser.add_mutually_exclusive_group()
    who.add_argument(
        "--identities",
        choices=("apart", "by-name"),
        default="apart",
        help="apart: those of each set after those of the sets before (default); by-name: equal lines of "
        "identities.txt are one person",
    )
    who.add_argument(
        "--map",
        type=Path,
        metavar="CSV",
        help="columns set (1, 2, ... or the folder's name), label, and new_label or name; empty: left out",
    )
    parser.add_argument("--drop-duplicates", action="store_true", help="of images with the same bytes keep the first")


def run(given: argparse.Namespace) -> None:
    """Merge, and say what was written."""
    join = by_name if given.identities == "by-name" else apart
    if given.map:
        join = partial(by_table, path=given.map)
    merged = merge(given.rec, given.out, join=join, drop_duplicates=given.drop_duplicates)
    print_outcome("merged", merged)
