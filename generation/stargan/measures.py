"""What edits are measured by: a number for pictures before and after, and for real ones that are as these shall be.

One whose network is not there says which file it needs; nothing is downloaded, and no figure is made up.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from generation.metrics import psnr_db
from generation.quality.distances import frechet_distance

Embed = Callable[[Tensor], Tensor]
BATCH = 64


@dataclass(frozen=True, eq=False)
class Shown:
    """Pictures img01 (N, 3, S, S), as files keep them: `before` and `after` an edit and `back` from it, and others,
    real ones that have what the edit makes.
    """

    before: Tensor
    after: Tensor
    back: Tensor
    real: Tensor

    @property
    def are_sets(self) -> bool:
        """Whether there are pictures enough, made and real ones, for a distance between them."""
        return min(len(self.after), len(self.real)) >= 2


@dataclass(frozen=True)
class Measure:
    """`of` gives the number, `by` names the network that it is by; without `of`, `why` says what is missing."""

    key: str
    title: str
    digits: int = 3
    by: str | None = None
    of: Callable[[Shown], float | None] | None = None
    why: str | None = None

    def value(self, shown: Shown) -> float | None:
        """The number, None where it cannot be had."""
        return None if self.of is None else self.of(shown)

    def facts(self) -> dict[str, Any]:
        """What a report keeps of it."""
        return {"title": self.title, "by": self.by, "why": self.why}


def identity_measures(embed: Embed | None, by: str | None) -> list[Measure]:
    """Face-FID and the identity that is kept, through a recogniser."""
    titles = {"face_fid": "face-FID", "identity_cos": "identity kept, cosine"}
    if embed is None:
        why = "needs a recogniser: --recogniser RUN, of launch/train.py, or an ONNX file"
        return [Measure(key, title, why=why) for key, title in titles.items()]

    @torch.no_grad()
    def seen(img01_NCHW: Tensor) -> np.ndarray:
        return torch.cat([F.normalize(embed(some).float()) for some in img01_NCHW.split(BATCH)]).numpy()

    def face_fid(shown: Shown) -> float | None:
        return frechet_distance(seen(shown.real), seen(shown.after)) if shown.are_sets else None

    def identity(shown: Shown) -> float:
        return float((seen(shown.before) * seen(shown.after)).sum(1).mean())

    of = {"face_fid": face_fid, "identity_cos": identity}
    return [Measure(key, title, by=by, of=of[key]) for key, title in titles.items()]


def picture_measures() -> list[Measure]:
    """What needs no network: how much an edit changes, and how much of the picture comes back."""
    return [
        Measure("change_l1", "mean absolute change", of=lambda shown: _l1(shown.before, shown.after)),
        Measure("back_psnr_db", "undone, PSNR in dB", 1, of=lambda shown: _psnr_db(shown.back, shown.before)),
    ]


def as_told(measure: Measure, value: float | None) -> str:
    """A value as tables have it."""
    return "n/a" if value is None else f"{value:.{measure.digits}f}"


def missing_lines(measures: Sequence[Measure]) -> list[str]:
    """A sentence for each measure that cannot be had."""
    return [f"{measure.title}: n/a, {measure.why}" for measure in measures if measure.of is None]


def _l1(a_NCHW: Tensor, b_NCHW: Tensor) -> float:
    return float((a_NCHW - b_NCHW).abs().mean())


def _psnr_db(a_NCHW: Tensor, b_NCHW: Tensor) -> float:
    return float(psnr_db(a_NCHW, b_NCHW).mean())
