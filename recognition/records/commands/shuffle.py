"""Copy of a record set in random order: whoever reads it from beginning to end sees identities well mixed."""

from __future__ import annotations

import argparse

from recognition.records.commands.arguments import add_new_folder, add_rec, add_seed
from recognition.records.commands.outcome import print_outcome
from recognition.records.shuffling import MEMORY_BYTES, shuffle


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The set, the folder, and how much memory."""
    add_rec(parser)
    add_new_folder(parser)
    add_seed(parser)
    default = MEMORY_BYTES >> 20
    parser.add_argument("--memory", type=int, default=default, metavar="MIB", help=f"for images (default: {default})")


def run(given: argparse.Namespace) -> None:
    """Shuffle, and say what was written."""
    print_outcome("shuffled", shuffle(given.rec, given.out, seed=given.seed, memory_bytes=given.memory << 20))
