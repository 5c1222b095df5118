"""What commands ask of the user who have photos to find faces in."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from recognition.faces.photos import CHOICES, Aligner


def add_finding(parser: argparse._ActionsContainer, *, without: str) -> None:
    """The detector, the face that is meant, and which are good enough; `without`: what no detector means."""
    add = parser.add_argument
    add("--detector", type=Path, metavar="FILE.onnx", help=f"YuNet, SCRFD or CenterFace; {without}")
    add(
        "--face",
        choices=CHOICES,
        default=Aligner.choice,
        help="the one that is meant; `only`: photos with several are left out (default: %(default)s)",
    )
    add("--min-score", type=float, default=Aligner.min_score, help="the detector's, 0.3 to 1 (default: %(default)s)")
    add(
        "--min-size",
        type=int,
        default=Aligner.min_size,
        help="pixels of the face's shorter side (default: %(default)s)",
    )


def found_as(given: argparse.Namespace) -> dict[str, Any]:
    """What `add_finding` says beside the detector, as `Aligner` has it."""
    return {"choice": given.face, "min_score": given.min_score, "min_size": given.min_size}
