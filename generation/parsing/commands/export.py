"""Write a parser as ONNX, after it was found to agree with PyTorch."""

from __future__ import annotations

import argparse
from pathlib import Path

from generation.parsing.export import export_parser
from generation.parsing.opening import open_network
from recognition.errors import InputError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The parser, the file, and the pictures' size."""
    add = parser.add_argument
    add("model", type=Path, help="run of train, checkpoint, or published weights (79999_iter.pth)")
    add("out", type=Path, help="file to write, .onnx")
    add("--image-size", type=int, help="side of the pictures that it takes (default: as it was trained)")


def run(given: argparse.Namespace) -> None:
    """Write, and say how far the two differ."""
    if given.out.suffix != ".onnx":
        raise InputError(f"{given.out}: a parser is exported as .onnx; choose that suffix")
    net, facts = open_network(given.model)
    facts["image_size"] = given.image_size or facts["image_size"]
    difference = export_parser(net, given.out, facts)
    side = facts["image_size"]
    print(f"exported: {given.out}, (N, 3, {side}, {side}) in [-1, 1]; differs from PyTorch by {difference:.1e} at most")
