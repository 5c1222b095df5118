"""Folder per identity -> set OUT.bin: as many genuine as impostor pairs in 10 folds, as LFW."""

from __future__ import annotations

import argparse
from pathlib import Path

from recognition.records.commands.arguments import add_encoding, add_seed
from recognition.records.pairing import encode_pairs, make_pairs, read_pair_list
from recognition.verification.pairs import write_pairs


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The pictures, the file to write, and which pairs."""
    parser.add_argument("folder", type=Path, help="folder of folders; with --list: what its paths are relative to")
    parser.add_argument("out", type=Path, help=".bin file to write")
    parser.add_argument("--num-pairs", type=int, help="a multiple of 20 (default: all there are, up to 6000)")
    parser.add_argument("--list", type=Path, help="take these: LFW pairs.txt, or lines `path,path,1` or `path,path,0`")
    add_seed(parser)
    add_encoding(parser)


def run(given: argparse.Namespace) -> None:
    """Draw or read the pairs, and write them."""
    if given.list:
        pairs, issame = read_pair_list(given.list, given.folder)
    else:
        pairs, issame = make_pairs(given.folder, num_pairs=given.num_pairs, seed=given.seed)
    images = encode_pairs(pairs, image_size=given.image_size, fit=given.fit, quality=given.quality)
    write_pairs(given.out, images, issame)
    print(f"wrote {len(issame)} pairs, {sum(issame)} of one person, to {given.out}")
