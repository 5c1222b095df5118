"""Check a set: index, frames, checksums, labels, every image, duplicates, alignment; exit code 2 on problems."""

from __future__ import annotations

import argparse
from pathlib import Path

from recognition.errors import InputError
from recognition.records.commands.arguments import add_json, add_rec, write_json
from recognition.records.verifying import DUPLICATES, MEAN_FACE, verify, write_missing_checks


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The set, and what to write."""
    add_rec(parser)
    parser.add_argument("--out", type=Path, metavar="DIR", help=f"write {MEAN_FACE} and {DUPLICATES} there")
    add_json(parser)
    parser.add_argument(
        "--write-checks", action="store_true", help="of a sound set: write train.crc, so that damage to come is found"
    )


def run(given: argparse.Namespace) -> None:
    """Check, print what was found, and write what was asked for."""
    seen = verify(given.rec, out_dir=given.out)
    print(seen)
    write_json(given.json, seen.facts())
    if seen.num_problems:
        raise InputError(f"{seen.path}: {seen.num_problems} problems (listed above); re-copy the set or pack it again")
    print("  sound: every record and every image can be read")
    if given.write_checks:
        print(f"  checksums of this set: {write_missing_checks(given.rec)}")
