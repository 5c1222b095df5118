"""Folder per identity, or a .lst file -> OUT/train.rec, train.idx, property in InsightFace's layout."""

from __future__ import annotations

import argparse
from pathlib import Path

from recognition.errors import InputError
from recognition.records.commands.arguments import add_encoding
from recognition.records.packing import pack_folder, pack_list


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What to pack, where to, and how."""
    parser.add_argument("source", type=Path, help="folder of folders, or list: index<TAB>label<TAB>path in each line")
    parser.add_argument("out", type=Path, help="folder to write; a set that is there is replaced when all went well")
    add_encoding(parser)


def run(given: argparse.Namespace) -> None:
    """Pack, and say what was packed."""
    if not given.source.exists():
        raise InputError(f"{given.source} does not exist; give a folder with one folder per identity, or a .lst file")
    pack = pack_folder if given.source.is_dir() else pack_list
    packed = pack(given.source, given.out, image_size=given.image_size, fit=given.fit, quality=given.quality)
    print(f"packed {packed.num_images} images of {packed.num_classes} identities into {packed.path}")
    for remark in packed.remarks:
        print(f"note: {remark}")
