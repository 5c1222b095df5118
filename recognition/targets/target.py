"""What every kind of target answers to, and what is known once models were verified on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from recognition.embedding.finding import Finding
from recognition.embedding.models import Embedder
from recognition.faces.alignment import SIZE
from recognition.faces.opening import open_detector
from recognition.faces.photos import FAINT_SCORE, Aligner
from recognition.runtime import Runtime
from recognition.verification.bootstrap import REPLICATES

OFF, AUTO, DEEP = DIAGNOSES = ("off", "auto", "deep")


@dataclass(frozen=True)
class Options:
    """What is known beside the path; each kind of target takes what it understands.

    `images`: what the paths of a list are relative to; `groups`: CSV file with the group of each pair; `detector`: ONNX
    file of a face detector, for photos that are not aligned; `replicates`, `seed`: resamples for intervals, and where
    drawing begins; `unit`: PAIRS or PEOPLE, what is resampled, None for people where the set says who they are;
    `diagnose`: one of DIAGNOSES.
    """

    images: Path | None = None
    groups: Path | None = None
    detector: Path | None = None
    replicates: int = REPLICATES
    seed: int = 0
    unit: str | None = None
    diagnose: str = OFF


def open_aligner(options: Options) -> Aligner | None:
    """What finds and aligns the face in a photo, at 112 pixels until a model asks for others; None without one."""
    if options.detector is None:
        return None
    return Aligner(open_detector(options.detector, min_score=FAINT_SCORE), size=SIZE)


class Outcome(Protocol):
    """What one model made of one target."""

    @property
    def findings(self) -> Sequence[Finding]:
        """What is wrong with the model, or with how it is fed."""
        ...

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

    def require_fit(self, model: Embedder) -> None:
        """InputError, before anything is embedded, unless the model takes pictures of the size that there are."""
        ...

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
class Failed:
    """Why the model at that place has no outcome; `finding` where it is known what is wrong with it."""

    model: int
    reason: str
    finding: Finding | None = None

    def facts(self) -> dict[str, Any]:
        """As report.json has it."""
        return asdict(self)


@dataclass(frozen=True)
class Scored:
    """One target with the outcomes of the models that have one, in the models' order, and why others have none."""

    target: Target
    outcomes: tuple[Outcome, ...]
    failed: tuple[Failed, ...] = ()

    @property
    def models(self) -> list[int]:
        """Places of the models that have an outcome."""
        lost = {entry.model for entry in self.failed}
        return [place for place in range(len(self.outcomes) + len(lost)) if place not in lost]


def lines(name: str, outcome: Outcome) -> list[str]:
    """What the console shows of an outcome: its figures, and a line for each warning and each finding."""
    warnings = [f"{name}: warning: {warning}" for warning in outcome.warnings]
    findings = [f"{name}: {finding.name}: {finding.sentence}; {finding.suggestion}" for finding in outcome.findings]
    return [f"{name}: {outcome.line()}", *warnings, *findings]


def comparison_lines(name: str, models: Sequence[str], comparisons: Sequence[dict[str, Any]]) -> list[str]:
    """What the console shows of a target's comparisons, `models` by their names: each difference and what it means."""
    return [
        f"{name}, {models[entry['first']]} less {models[entry['second']]}: {entry['metric']} "
        f"{entry['difference']:+.4f} ({entry['low']:+.4f} to {entry['high']:+.4f}), p {entry['p_adjusted']:.2g}: "
        f"{entry['verdict']}"
        for entry in comparisons
    ]
