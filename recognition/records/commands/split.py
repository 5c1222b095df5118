"""Record set -> OUT/train and OUT/held_out, divided by identity: no one is on both sides."""

from __future__ import annotations

import argparse
from pathlib import Path

from recognition.records.commands.arguments import add_new_folder, add_rec, add_seed
from recognition.records.commands.outcome import print_outcome
from recognition.records.splitting import split


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The set, the folder, and whom to hold out."""
    held_out = parser.add_mutually_exclusive_group(required=True)
    held_out.add_argument("--share", type=float, help="of the identities to hold out, e.g. 0.1")
    held_out.add_argument("--identities", type=int, metavar="N", help="hold out so many")
    held_out.add_argument("--list", type=Path, metavar="FILE", help="hold out these: a label or a name a line")
    add_rec(parser)
    add_new_folder(parser)
    add_seed(parser)


def run(given: argparse.Namespace) -> None:
    """Split, and say what was written."""
    sides = split(
        given.rec, given.out, share=given.share, identities=given.identities, listed=given.list, seed=given.seed
    )
    for side in sides:
        print_outcome("wrote", side)
