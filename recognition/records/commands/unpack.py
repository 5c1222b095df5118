"""Images of a record set -> a new folder per identity; pack it again: the same labels."""

from __future__ import annotations

import argparse

from recognition.records.commands.arguments import add_new_folder, add_rec
from recognition.records.commands.outcome import print_outcome
from recognition.records.unpacking import TABLE, unpack


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The set and the folder."""
    add_rec(parser)
    add_new_folder(parser)
    parser.add_argument("--csv", action="store_true", help=f"also write OUT/{TABLE}: path,label,name of each image")


def run(given: argparse.Namespace) -> None:
    """Unpack, and say how much it was."""
    print_outcome("unpacked", unpack(given.rec, given.out, table=given.csv))
