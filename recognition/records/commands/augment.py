"""Contact sheet of what `augment` in a config makes of the faces of a set, kind by kind."""

from __future__ import annotations

import argparse
from pathlib import Path

from recognition.data.sources import DRAWN, open_source
from recognition.errors import InputError
from recognition.records.commands.arguments import add_seed


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The set, the picture, and which kinds."""
    parser.add_argument(
        "rec", help="what the config key `rec` takes: folder with train.rec, a .lst file, heads, synthetic ..."
    )
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.png", help="picture to write")
    parser.add_argument(
        "--augment",
        nargs="+",
        metavar="NAME:PROBABILITY",
        help="as in a config, with ranges (default: all kinds); every face shows them, whatever the probability",
    )
    parser.add_argument("--faces", type=int, default=4, help="rows, spread over the set (default: 4)")
    parser.add_argument("--image-size", type=int, default=112, help="pixels square, of drawn faces (default: 112)")
    parser.add_argument("--epoch", type=int, default=0, help="epoch to show (default: the first)")
    add_seed(parser)


def run(given: argparse.Namespace) -> None:
    """Draw, and say where it is."""
    # Only here: torch takes seconds to import, and no other command on records needs it.
    from recognition.data.augment import KINDS, parse_augment
    from recognition.records.contact_sheet import contact_sheet

    if given.out.suffix.lower() != ".png":
        raise InputError(f"--out {given.out}: ends in no .png; name the picture so")
    if given.faces < 1:
        raise InputError(f"--faces {given.faces}: must be at least 1")
    augmentations = parse_augment(given.augment or [f"{name}:1" for name in KINDS])
    drawn = {"num_classes": given.faces, "num_image": given.faces} if given.rec in DRAWN else {}
    source = open_source(given.rec, image_size=given.image_size, **drawn)
    if given.faces > len(source):
        raise InputError(f"--faces {given.faces}: {given.rec} has only {len(source)} pictures; ask for fewer")
    sheet = contact_sheet(source, augmentations, faces=given.faces, seed=given.seed, epoch=given.epoch)
    sheet.save(given.out, "PNG", optimize=True)
    print(f"wrote {given.faces} faces under {len(augmentations)} augmentations to {given.out}")
