"""What edits are measured by: a number for pictures before and after, and for real ones that are as these shall be.

One whose network is not there says which file it needs; nothing is downloaded, and no figure is made up.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from generation.metrics import psnr_db
from generation.quality import inception, lpips
from generation.quality.distances import frechet_distance, inception_score, kernel_distance

Embed = Callable[[Tensor], Tensor]
BATCH = 64
LEAST_REAL = 2  # pictures that a distance between sets needs, on either side
KEPT = 3  # sets whose vectors are remembered: before an edit, after it, real ones
FULL_RANK = inception.FEATURES  # pictures below which the covariance of what Inception sees has no inverse


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
        return min(len(self.after), len(self.real)) >= LEAST_REAL


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


class Seen:
    """The vectors (N, D) that a network gives for pictures; those of the last KEPT sets are not computed again."""

    def __init__(self, see: Callable[[Tensor], Tensor]) -> None:
        self.see = see
        self._kept: list[tuple[Tensor, np.ndarray]] = []

    @torch.no_grad()
    def __call__(self, img01_NCHW: Tensor) -> np.ndarray:
        """See the class; a set is known again by being the same tensor."""
        for place, (known, _) in enumerate(self._kept):
            if known is img01_NCHW:
                self._kept.append(self._kept.pop(place))
                return self._kept[-1][1]
        vectors_ND = torch.cat([self.see(some).float() for some in img01_NCHW.split(BATCH)]).numpy()
        self._kept = [*self._kept, (img01_NCHW, vectors_ND)][-KEPT:]
        return vectors_ND


def identity_measures(embed: Embed | None, by: str | None) -> list[Measure]:
    """Face-FID and the identity that is kept, through a recogniser."""
    titles = {"face_fid": "face-FID", "identity_cos": "identity kept, cosine"}
    if embed is None:
        why = "needs a recogniser: --recogniser RUN, of launch/train.py, or an ONNX file"
        return [Measure(key, title, why=why) for key, title in titles.items()]
    seen = Seen(lambda img01_BCHW: F.normalize(embed(img01_BCHW).float()))

    def identity(shown: Shown) -> float:
        return float((seen(shown.before) * seen(shown.after)).sum(1).mean())

    return [
        Measure("face_fid", titles["face_fid"], by=by, of=_between(frechet_distance, seen)),
        Measure("identity_cos", titles["identity_cos"], by=by, of=identity),
    ]


def inception_measures(path: Path | None) -> list[Measure]:
    """FID, KID and Inception Score, by the network in a local file; InputError where it holds another one."""
    titles = {"fid": "FID", "kid": "KID", "inception_score": "IS"}
    if path is None:
        why = inception.PUBLISHED.how("--inception")
        return [Measure(key, title, why=why) for key, title in titles.items()]
    eyes = inception.InceptionEyes(path)
    seen = Seen(eyes)

    def features(img01_NCHW: Tensor) -> np.ndarray:
        return seen(img01_NCHW)[:, : inception.FEATURES]

    def score(shown: Shown) -> float:
        return inception_score(seen(shown.after)[:, inception.FEATURES :])

    return [
        Measure("fid", titles["fid"], 1, f"{eyes.by}, 2,048 features", _between(frechet_distance, features)),
        Measure("kid", titles["kid"], 4, f"{eyes.by}, 2,048 features", _between(kernel_distance, features)),
        Measure("inception_score", titles["inception_score"], 2, f"{eyes.by}, 1,008 classes, in one part", score),
    ]


def likeness_measures(path: Path | None, side: int) -> list[Measure]:
    """LPIPS between a picture and its edit, by the network in a local file; InputError where it holds another one.

    Or where pictures, `side` pixels wide, are too small for it.
    """
    title = "LPIPS to the untouched"
    if path is None:
        return [Measure("lpips", title, why=lpips.ALEXNET.how("--lpips"))]
    lpips.require_side(side)
    network, by = lpips.open_lpips(path)
    return [
        Measure("lpips", title, by=by, of=lambda shown: lpips.mean_lpips(network, shown.before, shown.after, BATCH))
    ]


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
    """A sentence for all measures that cannot be had for the same reason."""
    by_why: dict[str | None, list[str]] = {}
    for measure in measures:
        if measure.of is None:
            by_why.setdefault(measure.why, []).append(measure.title)
    return [f"{', '.join(titles)}: n/a, {why}" for why, titles in by_why.items()]


def few_lines(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """A sentence where FID is of so few pictures that it can be compared with no other table; `rows`: of edits."""
    of_edits = [row for row in rows if row["pictures"] is not None and row["values"].get("fid") is not None]
    counts = [min(row["pictures"], row["real"]) for row in of_edits]
    if not counts or min(counts) >= FULL_RANK:
        return []
    return [
        f"FID is of sets of {min(counts):,} pictures and more; of fewer than {FULL_RANK:,} the covariance of what "
        "Inception sees is not of full rank, and FID too large: compare it within this table only, KID elsewhere"
    ]


def _between(
    distance: Callable[[np.ndarray, np.ndarray], float], see: Callable[[Tensor], np.ndarray]
) -> Callable[[Shown], float | None]:
    """The distance between what is seen in real pictures and in edited ones, None where these are no sets."""
    return lambda shown: distance(see(shown.real), see(shown.after)) if shown.are_sets else None


def _l1(a_NCHW: Tensor, b_NCHW: Tensor) -> float:
    return float((a_NCHW - b_NCHW).abs().mean())


def _psnr_db(a_NCHW: Tensor, b_NCHW: Tensor) -> float:
    return float(psnr_db(a_NCHW, b_NCHW).mean())
