"""Arguments of the commands that find and align faces."""

from __future__ import annotations

import argparse
from pathlib import Path

from recognition.errors import InputError
from recognition.faces.alignment import SIZE
from recognition.faces.photos import CHOICES, FAINT_SCORE, LARGEST, Aligner
from recognition.records.aligning import FaceEncoder
from recognition.records.encode import Encoder, Prepare


def add_faces(parser: argparse.ArgumentParser) -> None:
    """How the face of a photo is found, and which one is meant."""
    group = parser.add_argument_group("faces in photos")
    group.add_argument("--detector", type=Path, metavar="FILE.onnx", help="YuNet or SCRFD; needed")
    group.add_argument(
        "--face",
        choices=CHOICES,
        default=LARGEST,
        help="the one that is meant; `only`: photos with several are left out (default: largest)",
    )
    group.add_argument("--min-score", type=float, default=0.6, help="the detector's, 0.3 to 1 (default: 0.6)")
    group.add_argument("--min-size", type=int, default=32, help="pixels of the face's shorter side (default: 32)")
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
    from recognition.faces.opening import WHERE_FROM, open_detector

    if given.detector is None:
        raise InputError(f"--detector FILE.onnx is missing; {WHERE_FROM}")
    detector = open_detector(given.detector, device=given.device, min_score=FAINT_SCORE)
    aligner = Aligner(
        detector,
        choice=given.face,
        min_score=given.min_score,
        min_size=given.min_size,
        size=SIZE if image_size is None else image_size,
        antialias=given.antialias,
    )
    return FaceEncoder(aligner, given.quality)
