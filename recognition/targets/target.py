"""What every kind of target answers to, and what is known once models were verified on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from recognition.embedding.models import Embedder
from recognition.runtime import Runtime


@dataclass(frozen=True)
class Options:
    """What is known beside the path; each kind of target takes what it understands.

    `size`: (height, width) that the models take, None where any will do; `detector`: ONNX file of a face detector, for
    photos that are not aligned; `progress`: whether bars may be shown.
    """

    size: tuple[int, int] | None = None
    detector: Path | None = None
    progress: bool = True


class Outcome(Protocol):
    """What one model made of one target."""

    @property
    def warnings(self) -> Sequence[str]:
        """What a reader should know before trusting the figures, one sentence each."""
        ...

    def line(self) -> str:
        """The figures in one line of text."""
        ...

    def facts(self) -> dict[str, Any]:
        """Everything that was measured, for report.json: names as in report.schema.json, numpy values welcome."""
        ...


class Target(Protocol):
    """Pictures, and who is whom among them. `kind` is a key of report.schema.json, `name` what the user knows it by."""

    kind: str
    name: str

    def score(self, model: Embedder, *, runtime: Runtime, batch_size: int) -> Outcome:
        """Embed on all ranks and judge; every rank takes part and gets the same outcome."""
        ...

    def compare(self, outcomes: Sequence[Outcome]) -> list[dict[str, Any]]:
        """For each two of several models what differs between them and whether it may be chance; [] of one."""
        ...

    def picture(self, index: int) -> np.ndarray | None:
        """Picture `index` as an outcome's facts number it, uint8 (H, W, 3) RGB; None where it cannot be shown."""
        ...


@dataclass(frozen=True)
class Scored:
    """One target with the outcome of each model, in the models' order."""

    target: Target
    outcomes: tuple[Outcome, ...]


def lines(name: str, outcome: Outcome) -> list[str]:
    """What the console shows of an outcome: its figures, and a line for each warning."""
    return [f"{name}: {outcome.line()}", *(f"{name}: warning: {warning}" for warning in outcome.warnings)]
