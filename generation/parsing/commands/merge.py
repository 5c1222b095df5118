"""Merge the parts of CelebAMask-HQ to one mask for each picture; what was interrupted goes on."""

from __future__ import annotations

import argparse
from pathlib import Path

from tqdm import tqdm

from generation.parsing.celebamask import MASK_SIZE, PICTURE_SIZE, merge
from generation.parsing.masks import MASKS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Where the set lies, and where the masks go."""
    add = parser.add_argument
    add("data", type=Path, help="CelebAMask-HQ's folder, with CelebAMask-HQ-mask-anno/ and CelebA-HQ-img/ in it")
    add("--out", type=Path, help=f"folder for the masks (default: DATA/{MASKS}, where train looks)")
    add("--size", type=int, default=MASK_SIZE, help="of the parts, in pixels (default: %(default)s)")
    add("--picture-size", type=int, default=PICTURE_SIZE, help="of the pictures, in pixels (default: %(default)s)")


def run(given: argparse.Namespace) -> None:
    """Merge, and say what there is."""
    out = given.data / MASKS if given.out is None else given.out
    with tqdm(desc="merging", unit="mask", delay=2, leave=False, disable=None) as bar:

        def say(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        merged = merge(given.data, out, size=given.size, picture_size=given.picture_size, say=say)
    pixels = sum(merged.pixels.values())
    told = ", ".join(f"{name} {count / pixels:.1%}" for name, count in merged.pixels.items() if count)
    print(f"merged: {merged.written} masks in {out}, {merged.kept} were there; {told or 'nothing new'}")
