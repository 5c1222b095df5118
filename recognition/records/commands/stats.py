"""Count images and classes without decoding images; with --out, a page of charts and pictures."""

from __future__ import annotations

import argparse
from pathlib import Path

from recognition.records.commands.arguments import add_json, add_rec, write_json
from recognition.records.counting import stats
from recognition.records.page import HTML, JSON, write_stats


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The set, and what to write."""
    add_rec(parser)
    parser.add_argument("--out", type=Path, metavar="DIR", help=f"write {HTML} (self-contained) and {JSON} there")
    add_json(parser)


def run(given: argparse.Namespace) -> None:
    """Count, print the counts, and write what was asked for."""
    seen = write_stats(given.rec, given.out) if given.out else stats(given.rec)
    print(seen)
    write_json(given.json, seen.facts())
    if given.out:
        print(f"  page: {given.out / HTML}")
