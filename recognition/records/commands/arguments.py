"""Arguments that several commands have."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from recognition.atomic import write_text
from recognition.data.recordio import rec_path
from recognition.errors import InputError
from recognition.records.encode import FITS


def add_rec(parser: argparse.ArgumentParser) -> None:
    """The set that is read."""
    parser.add_argument("rec", type=rec_path, help="train.rec, or the folder that holds it")


def add_new_folder(parser: argparse.ArgumentParser) -> None:
    """The folder that is made."""
    parser.add_argument("out", type=Path, help="folder to make")


def add_seed(parser: argparse.ArgumentParser) -> None:
    """What is drawn by."""
    parser.add_argument("--seed", type=int, default=0, help="another seed, another draw (default: 0)")


def require_workers(workers: int | None) -> None:
    """InputError for a number of processes that is none."""
    if workers is not None and workers < 1:
        raise InputError(f"--workers {workers}: must be at least 1")


def add_encoding(parser: argparse.ArgumentParser) -> None:
    """How images become JPEGs of one size."""
    parser.add_argument(
        "--image-size", type=int, help="pixels square; default: 112 with --align, else all images have one size already"
    )
    parser.add_argument("--fit", choices=FITS, default="pad", help="how the others become square (default: pad)")
    parser.add_argument("--quality", type=int, default=95, help="of JPEGs that must be made (default: 95)")


def add_json(parser: argparse.ArgumentParser) -> None:
    """Where the facts go that programs read."""
    parser.add_argument("--json", type=Path, metavar="FILE", help="write what was found as JSON, too")


def write_json(path: Path | None, facts: dict[str, Any]) -> None:
    """Write `facts`, which strict JSON can hold, where `--json` was given."""
    if path is not None:
        write_text(path, json.dumps(facts, indent=1, allow_nan=False) + "\n")
