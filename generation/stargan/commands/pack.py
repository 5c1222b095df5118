"""Pack pictures and their attributes into a record file, whose labels are vectors (MXNet's im2rec does the same)."""

from __future__ import annotations

import argparse
from pathlib import Path

from tqdm import tqdm

from generation.stargan.pictures import EXCLUSIVE, NAMES, PARTITIONS, open_pictures
from recognition.atomic import write_text
from recognition.data.recordio import RecordWriter
from recognition.errors import InputError
from recognition.records.commands.arguments import add_new_folder
from recognition.records.layout import new_folder


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The pictures, the folder, and which attributes."""
    parser.add_argument("data", type=Path, help="pictures in any layout that launch/stargan.py takes")
    add_new_folder(parser)
    parser.add_argument("--attr_path", type=Path, metavar="FILE", help="table of attributes, where it is not in DATA")
    parser.add_argument("--attrs", nargs="+", metavar="ATTR", help="which (default: all)")
    parser.add_argument("--skip_missing", action="store_true", help="leave out pictures that the table names alone")


def run(given: argparse.Namespace) -> None:
    """Pack the files as they are, and say how many."""
    pictures = open_pictures(
        given.data, given.attr_path, given.attrs, image_size=1, test_size=0, skip_missing=given.skip_missing
    )
    if blank := [name for name in pictures.names if len(name.split()) != 1]:
        raise InputError(f"attribute {blank[0]!r}: names are apart by blanks, and have none themselves; rename it")
    with new_folder(given.out) as aside:
        with RecordWriter(aside / "train.rec") as writer:
            bar = tqdm(range(len(pictures)), desc="packing", unit="picture", delay=2, leave=False, disable=None)
            for index in bar:
                payload = pictures.payloads.read(int(pictures.rows_N[index]))
                if not payload:
                    raise InputError(f"{pictures.describe(index)} is empty; bring it again")
                labels = [1.0 if value else -1.0 for value in pictures.labels_NA[index]]
                writer.write(index + 1, payload, labels[0] if len(labels) == 1 else labels)
        exclusive = f"{EXCLUSIVE}\n" if pictures.exclusive else ""
        write_text(aside / NAMES, " ".join(pictures.names) + "\n" + exclusive)
        if pictures.is_test_N.any():
            parts = (f"{index + 1} {2 if is_test else 0}\n" for index, is_test in enumerate(pictures.is_test_N))
            write_text(aside / PARTITIONS[0], "".join(parts))
    for line in pictures.left_out:
        print(f"left out: {line}")
    print(f"packed: {len(pictures)} pictures with {' '.join(pictures.names)} into {given.out}")
