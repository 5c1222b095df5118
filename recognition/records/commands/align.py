"""Folder of raw photos per identity -> OUT: the same folder of aligned faces, and a list of the photos without one."""

from __future__ import annotations

import argparse
from pathlib import Path

from recognition.records.aligning import align_folder
from recognition.records.commands.arguments import add_new_folder
from recognition.records.commands.faces import add_faces, open_face_encoder
from recognition.records.commands.outcome import print_outcome


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The photos, the folder, and which faces."""
    parser.add_argument("photos", type=Path, help="folder of folders of photos")
    add_new_folder(parser)
    parser.add_argument("--image-size", type=int, default=112, help="pixels square (default: 112)")
    parser.add_argument("--quality", type=int, default=95, help="of the JPEGs (default: 95)")
    parser.add_argument("--workers", type=int, help="threads (default: cores + 4)")
    add_faces(parser)


def run(given: argparse.Namespace) -> None:
    """Align, and say how many photos have a face."""
    done = align_folder(given.photos, given.out, open_face_encoder(given, given.image_size), workers=given.workers)
    print_outcome("aligned", done, what="photos")
