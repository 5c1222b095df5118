"""Check index, frames, labels, and that every image decodes; exit code 2 on problems."""

from __future__ import annotations

import argparse

from recognition.errors import InputError
from recognition.records.commands.arguments import add_rec
from recognition.records.inspection import verify


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The set."""
    add_rec(parser)


def run(given: argparse.Namespace) -> None:
    """Check, and print what was found."""
    seen = verify(given.rec)
    print(seen)
    if seen.num_problems:
        raise InputError(f"{seen.path}: {seen.num_problems} problems (listed above); re-copy the set or pack it again")
    print("  sound: every record and every image can be read")
