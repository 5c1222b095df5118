"""Arguments of the commands that find and align faces."""

from __future__ import annotations

import argparse

from recognition.errors import InputError
from recognition.faces.alignment import SIZE
from recognition.faces.arguments import add_finding, found_as
from recognition.records.aligning import FaceEncoder
from recognition.records.encode import Encoder, Prepare


def add_faces(parser: argparse.ArgumentParser) -> None:
    """How the face of a photo is found, and which one is meant."""
    group = parser.add_argument_group("faces in photos")
    add_finding(group, without="needed")
    group.add_argument(
        "--antialias",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="smooth faces at least twice the size of the crop; else as InsightFace's norm_crop (default: yes)",
    )
    group.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="of the detector (default: cpu)")


def add_alignment(parser: argparse.ArgumentParser) -> None:
    """For commands that take raw photos as well as faces that are aligned already."""
    parser.add_argument("--align", action="store_true", help="the pictures are raw photos: take the face in each")
    add_faces(parser)


def open_prepare(given: argparse.Namespace) -> Prepare:
    """What `add_encoding` and `add_alignment` say is to be done to each picture."""
    if given.align:
        return open_face_encoder(given, given.image_size)
    if given.detector:
        raise InputError("--detector does nothing without --align; give both, or neither")
    return Encoder(given.image_size, given.fit, given.quality)


def open_face_encoder(given: argparse.Namespace, image_size: int | None) -> FaceEncoder:
    """What the arguments ask for, with crops of `image_size` pixels square, None for the published 112."""
    # Here, since ONNX Runtime would double the time that every other command takes to start.
    from recognition.faces.opening import WHERE_FROM, open_aligner

    if given.detector is None:
        raise InputError(f"--detector FILE.onnx is missing; {WHERE_FROM}")
    size = SIZE if image_size is None else image_size
    how = {"size": size, "antialias": given.antialias, **found_as(given)}
    aligner = open_aligner(given.detector, device=given.device, **how)
    return FaceEncoder(aligner, given.quality)
