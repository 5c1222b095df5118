"""Count images and classes without decoding images; with --out, a page of charts and pictures."""

from __future__ import annotations

import argparse
from pathlib import Path

from recognition.records.commands.arguments import add_json, add_rec, write_json
from recognition.records.counting import stats


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The set, and what to write."""
    add_rec(parser)
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="write index.html (self-contained) and stats.json there"
    )
    add_json(parser)


def run(given: argparse.Namespace) -> None:
    """Count, print the counts, and write what was asked for."""
    if given.out is None:
        seen = stats(given.rec)
    else:
        # Loading the library of the charts takes longer than most commands need for their work.
        from recognition.records.page import write_stats

        seen = write_stats(given.rec, given.out)
    print(seen)
    write_json(given.json, seen.facts())
    if given.out is not None:
        print(f"  page: {given.out / 'index.html'}")
