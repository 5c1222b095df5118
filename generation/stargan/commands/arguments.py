"""Arguments that several commands have."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_pictures(parser: argparse.ArgumentParser) -> None:
    """How pictures lie and are cut; as a run of launch/stargan.py has it, so that its test pictures are kept apart."""
    parser.add_argument("--attr_path", type=Path, metavar="FILE", help="table of attributes, where it is not with them")
    parser.add_argument("--skip_missing", action="store_true", help="leave out pictures that the table names alone")
    parser.add_argument("--crop_size", type=int, metavar="N", help="side of the middle square (default: the largest)")
    parser.add_argument(
        "--test_size", type=int, metavar="N", help="pictures kept apart (default: a tenth, 2000 at most)"
    )
