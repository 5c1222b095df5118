"""Verification set OUT.bin: of a folder per identity, of a list of pairs, or of a published set (LFW, CFP-FP, ...)."""

from __future__ import annotations

import argparse
from pathlib import Path

from recognition.errors import InputError
from recognition.records.commands.arguments import add_encoding, add_seed
from recognition.records.commands.faces import add_alignment, open_prepare
from recognition.records.packing import size_remark
from recognition.records.pairing import encode_pairs, make_pairs
from recognition.verification.pair_lists import read_pair_list
from recognition.verification.pairs import write_pairs
from recognition.verification.published import PROTOCOLS, read_protocol


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The pictures, the file to write, and which pairs."""
    parser.add_argument("folder", type=Path, help="folder of folders; with a list: what its paths are relative to")
    parser.add_argument("out", type=Path, help=".bin file to write")
    parser.add_argument("--num-pairs", type=int, help="to draw: a multiple of 20 (default: all there are, up to 6000)")
    parser.add_argument("--protocol", choices=PROTOCOLS, help="the pairs and folds of this set, as it was published")
    parser.add_argument(
        "--list",
        type=Path,
        help="lines `path,path,1|0[,fold]`, or as LFW's pairs.txt; with --protocol: its own list",
    )
    parser.add_argument("--skip-bad", action="store_true", help="leave pairs out whose pictures are missing or damaged")
    add_seed(parser)
    add_encoding(parser)
    add_alignment(parser)


def run(given: argparse.Namespace) -> None:
    """Draw or read the pairs, and write them."""
    if given.out.suffix != ".bin":
        raise InputError(f"{given.out}: ends in no .bin, by which a run's val_targets are found; name the file so")
    if given.num_pairs is not None and (given.protocol or given.list):
        raise InputError("--num-pairs is for pairs that are drawn; a list has its own number: leave it out")
    if given.protocol:
        pairs, issame, *_ = read_protocol(given.protocol, given.folder, given.list)
    elif given.list:
        pairs, issame, *_ = read_pair_list(given.list, given.folder)
    else:
        pairs, issame = make_pairs(given.folder, num_pairs=given.num_pairs, seed=given.seed)
    encoded = encode_pairs(pairs, issame, open_prepare(given), skip_bad=given.skip_bad)
    write_pairs(given.out, encoded.images, encoded.issame)
    print(f"wrote {len(encoded.issame)} pairs, {sum(encoded.issame)} of one person, to {given.out}")
    for remark in size_remark(encoded.size):
        print(f"note: {remark}")
    if encoded.left_out:
        left_out = len(issame) - len(encoded.issame)
        print(f"note: {left_out} pairs were left out, so folds and figures are not those of the list:")
        for _, why in encoded.left_out:
            print(f"  {why}")
