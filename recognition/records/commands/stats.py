"""Count images and classes without decoding images."""

from __future__ import annotations

import argparse

from recognition.records.commands.arguments import add_rec
from recognition.records.inspection import stats


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The set."""
    add_rec(parser)


def run(given: argparse.Namespace) -> None:
    """Count, and print the counts."""
    print(stats(given.rec))
