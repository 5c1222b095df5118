"""Copy of a record set with wrong labels, for experiments; its noise.csv lists what was changed."""

from __future__ import annotations

import argparse

from recognition.data.label_noise import parse_noise
from recognition.records.commands.arguments import add_new_folder, add_rec, add_seed
from recognition.records.noising import write_noisy


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The set, the folder, and how wrong."""
    kind = parser.add_mutually_exclusive_group(required=True)
    kind.add_argument("--flip", metavar="SHARE", help="of the images get the label of another identity, e.g. 0.4")
    kind.add_argument("--conflict", metavar="SHARE[:LABELS]", help="of the identities get LABELS labels (default: 2)")
    add_rec(parser)
    add_new_folder(parser)
    add_seed(parser)


def run(given: argparse.Namespace) -> None:
    """Copy, and say what was changed."""
    noise = f"flip:{given.flip}" if given.flip else f"conflict:{given.conflict}"
    noisy = write_noisy(given.rec, given.out, parse_noise(noise), seed=given.seed)
    print("; ".join([f"wrote {noisy.num_images} images under {noisy.num_classes} labels", *noisy.remarks]))
