"""Folder of raw photos per identity -> OUT: the same folder of aligned faces, and a list of photos without one."""

from __future__ import annotations

import argparse
from pathlib import Path

from recognition.records.aligning import align_folder
from recognition.records.commands.arguments import add_new_folder
from recognition.records.commands.faces import add_faces, open_aligner


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The photos, the folder, and which faces."""
    parser.add_argument("photos", type=Path, help="folder of folders of photos")
    add_new_folder(parser)
    parser.add_argument("--image-size", type=int, default=112, help="pixels square (default: 112)")
    parser.add_argument("--quality", type=int, default=95, help="of the JPEGs (default: 95)")
    add_faces(parser)


def run(given: argparse.Namespace) -> None:
    """Align, and say how many photos have a face."""
    found = align_folder(given.photos, given.out, open_aligner(given, given.image_size), quality=given.quality)
    print(
        f"aligned {found.num_aligned} of {found.num_photos} photos, {found.num_classes} identities, into {found.path}"
    )
    for remark in found.remarks:
        print(f"note: {remark}")
