"""Everyone in a set against everyone: billions of impostor pairs, for false accept rates of 1e-6 and below."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from recognition.data.sources import open_source
from recognition.embedding.finding import Finding
from recognition.embedding.models import Embedder
from recognition.embedding.over_ranks import embed_images
from recognition.embedding.sources import SourcePictures, labels_of
from recognition.embedding.symptoms import require_finite
from recognition.identification.all_to_all import (
    STEPS,
    CosineCounts,
    Extreme,
    count_cosines,
    require_both_kinds,
)
from recognition.identification.counted import (
    FARS,
    People,
    cosine_of,
    people_accepted,
    roc_of_counts,
    share_difference,
    threshold_bins,
)
from recognition.runtime import Runtime
from recognition.spread import spread
from recognition.targets.target import Options
from recognition.verification.comparison import Comparison, judged
from recognition.verification.curves import allowed_false_accepts, area_under, equal_error_rate, flag_of
from recognition.verification.intervals import wilson_interval

MAX_POINTS = 1000
HISTOGRAM_BINS = 64
ALIKE = 0.999
BY_PERSON = "paired by person"


@dataclass(frozen=True)
class AllToAllOutcome:
    """What a model made of a set: its counted cosines, and how sure they are; `names` by picture."""

    counts: CosineCounts
    bins: tuple[int | None, ...]
    people: People
    images: int
    xnorm: float
    names: dict[int, str]
    findings: Sequence[Finding] = ()

    @property
    def warnings(self) -> Sequence[str]:
        """Pictures that are one and the same under two labels, which no model can tell apart."""
        alike = int(self.counts.impostor_K[round(ALIKE * STEPS) + STEPS :].sum())
        if not alike:
            return ()
        first, second = self.counts.impostors[0].first, self.counts.impostors[0].second
        return (
            f"{alike:,} impostor pairs have a cosine of {ALIKE} or more, first {self.names[first]} and "
            f"{self.names[second]}: one picture under two labels, most likely, or a network that sees no difference; "
            "the lowest false accept rates cannot be reached with them",
        )

    def line(self) -> str:
        """TAR at the FARs that the set can tell."""
        tar = "".join(
            f"  TAR@{point['far']:g} {point['tar']:.4f}" for point in self.points() if point["tar"] is not None
        )
        kinds = f"{self.counts.num_genuine:,} genuine and {self.counts.num_impostor:,} impostor pairs"
        return f"everyone against everyone{tar}  XNorm {self.xnorm:.2f}  ({self.images:,} images, {kinds})"

    def points(self) -> list[dict[str, Any]]:
        """The operating points as report.schema.json has them."""
        return [self._point(place, far, limit) for place, (far, limit) in enumerate(zip(FARS, self.bins))]

    def facts(self) -> dict[str, Any]:
        """As report.schema.json has them for everyone against everyone."""
        far, tar, distance = roc_of_counts(self.counts)
        keep = spread(len(far), MAX_POINTS)
        edges, genuine, impostor = _histogram(self.counts)
        return {
            "images": self.images,
            "identities": len(self.people.pairs_C),
            "genuine": self.counts.num_genuine,
            "impostor": self.counts.num_impostor,
            "operating_points": self.points(),
            "auc": area_under(far, tar),
            "eer": equal_error_rate(far, tar),
            "xnorm": self.xnorm,
            "roc": {"far": far[keep], "tar": tar[keep], "distance": distance[keep]},
            "histogram": {"cosine_edges": edges, "genuine": genuine, "impostor": impostor},
            "worst": [
                self._extreme(extreme, same)
                for same, extremes in ((False, self.counts.impostors), (True, self.counts.genuines))
                for extreme in extremes
            ],
        }

    def _point(self, place: int, far: float, limit: int | None) -> dict[str, Any]:
        allowed = allowed_false_accepts(far, self.counts.num_impostor)
        point = {"far": far, "allowed_false_accepts": allowed, "flag": flag_of(allowed)}
        if limit is None:
            return point | {"tar": None, "low": None, "high": None, "threshold": None}
        tar = float(self.counts.genuine_K[limit + 1 :].sum() / self.counts.num_genuine)
        low, high = wilson_interval(tar, self.people.effective_pairs(place))
        return point | {"tar": tar, "low": low, "high": high, "threshold": 2 - 2 * float(cosine_of(limit))}

    def _extreme(self, extreme: Extreme, same: bool) -> dict[str, Any]:
        return {
            "first": extreme.first,
            "second": extreme.second,
            "first_name": self.names[extreme.first],
            "second_name": self.names[extreme.second],
            "similarity": extreme.cosine,
            "same": same,
        }


class AllToAllTarget:
    """A set of pictures with labels under a name."""

    kind: ClassVar[str] = "all_to_all"

    def __init__(self, name: str, pictures: SourcePictures, labels_N: np.ndarray) -> None:
        self.name, self.pictures, self.labels_N = name, pictures, labels_N

    def require_fit(self, model: Embedder) -> None:
        """InputError unless the model takes pictures of this size."""
        model.require_size(*self.pictures.size, self.name)

    def score(self, model: Embedder, *, runtime: Runtime, batch_size: int = 64) -> AllToAllOutcome:
        """Embed all pictures and compare each with each; every rank takes part and gets the same outcome."""
        self.require_fit(model)
        embedded = embed_images(model, self.pictures, runtime=runtime, batch_size=batch_size, title=self.name)
        require_finite(embedded.emb_ND)
        counts = count_cosines(embedded.emb_ND, self.labels_N, runtime=runtime)
        bins = tuple(threshold_bins(counts))
        people = people_accepted(embedded.emb_ND, self.labels_N, bins, runtime=runtime)
        rows = {row for pair in counts.impostors + counts.genuines for row in (pair.first, pair.second)}
        names = {row: self.pictures.source.describe(row) for row in rows}
        return AllToAllOutcome(counts, bins, people, len(self.labels_N), embedded.xnorm, names)

    def compare(self, outcomes: Sequence[AllToAllOutcome]) -> list[dict[str, Any]]:
        """TAR at each FAR, each model at its own threshold: a difference between people's shares, paired by person."""
        entries = [
            Comparison(first, second, f"tar@{far:g}", *found, found.p_value, BY_PERSON, "")
            for first, second in combinations(range(len(outcomes)), 2)
            for place, far in enumerate(FARS)
            if outcomes[first].bins[place] is not None
            for found in [share_difference(outcomes[first].people, outcomes[second].people, place)]
        ]
        return [asdict(entry) for entry in judged(entries)]

    def picture(self, index: int) -> np.ndarray | None:
        """That image of the set."""
        return self.pictures[index]


def open_all_to_all(name: str, path: Path, options: Options) -> AllToAllTarget:
    """Any set that `rec=` takes: record files, shards, a folder per identity."""
    source = open_source(str(path))
    labels_N = labels_of(source)
    require_both_kinds(labels_N, len(source))
    return AllToAllTarget(name, SourcePictures(source), labels_N)


def _histogram(counts: CosineCounts) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Edges of so many bins over the cosines that occur, whole steps apart, and the pairs of both kinds in each."""
    occurs_K = np.flatnonzero(counts.genuine_K + counts.impostor_K)
    first, last = int(occurs_K[0]), int(occurs_K[-1]) + 1
    width = -(-(last - first) // HISTOGRAM_BINS)
    starts = np.arange(first, last, width)
    genuine, impostor = (np.add.reduceat(of_kind[:last], starts) for of_kind in (counts.genuine_K, counts.impostor_K))
    edges = (np.r_[starts, starts[-1] + width] - 0.5 - STEPS) / STEPS
    return edges, genuine, impostor
