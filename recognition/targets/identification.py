"""Galleries and probes: folders of one's own, and TinyFace as it is published."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from recognition.embedding.files import FilePictures
from recognition.embedding.finding import Finding
from recognition.embedding.models import Embedder
from recognition.embedding.over_ranks import embed_images
from recognition.embedding.symptoms import require_finite
from recognition.errors import InputError
from recognition.identification.folders import Gathering, gathered, tinyface_gathering
from recognition.identification.rates import Rates, rates_of
from recognition.identification.search import Searched, enrolled, search_gallery
from recognition.runtime import Runtime
from recognition.targets.target import Options, open_aligner
from recognition.verification.comparison import MCNEMAR, Comparison, judged
from recognition.verification.intervals import difference_interval, mcnemar_p

WORST = 6
NAMED_FAILURES = 20
FEW_PROBES = 30


@dataclass(frozen=True)
class IdentificationOutcome:
    """What became of the probes; `probe_Q` and `gallery_G` are the pictures that were searched for and enrolled."""

    rates: Rates
    searched: Searched
    probe_Q: np.ndarray
    gallery_G: np.ndarray
    gathering: Gathering
    failures: dict[int, str]
    xnorm: float
    findings: Sequence[Finding] = ()

    @property
    def warnings(self) -> Sequence[str]:
        """What makes the figures uncertain, or other than they seem."""
        found = list(self.gathering.remarks)
        if self.failures:
            missing = self.rates.missing
            found.append(
                f"{len(self.failures)} pictures could not be used; probes among them, and those of people who could "
                f"not be enrolled, count as not found{f', of people in the gallery {missing}' if missing else ''}"
            )
        if 0 < self.rates.mated < FEW_PROBES:
            found.append(f"only {self.rates.mated} probes show somebody in the gallery: the figures are rough")
        return found

    def line(self) -> str:
        """Ranks, and DIR at the FPIRs that the strangers can tell."""
        rates = self.rates
        ranks = "".join(f"  rank-{rank} {share:.4f}" for rank, share in rates.ranks.items())
        dirs = "".join(f"  DIR@{p.fpir:g} {p.dir:.4f}" for p in rates.open_set if p.dir is not None)
        people = len(set(self.gathering.person_N[self.gallery_G].tolist()))
        return f"identification{ranks}{dirs}  ({rates.mated} + {rates.nonmated} probes, {people} people enrolled)"

    def facts(self) -> dict[str, Any]:
        """As report.schema.json has them for identification."""
        rates, gathering = self.rates, self.gathering
        enrolled_people = gathering.person_N[self.gallery_G]
        probed = np.unique(gathering.person_N[gathering.probes()])
        return {
            "gallery_subjects": len(np.unique(enrolled_people[enrolled_people >= 0])),
            "gallery_images": len(self.gallery_G),
            "distractors": int((~np.isin(enrolled_people, probed)).sum()),
            "mated_probes": rates.mated,
            "nonmated_probes": rates.nonmated,
            "ranks": {str(rank): share for rank, share in rates.ranks.items()},
            "rank_intervals": {str(rank): interval for rank, interval in rates.rank_intervals.items()},
            "cmc": rates.cmc,
            "mean_average_precision": rates.mean_average_precision,
            "open_set": [asdict(point) for point in rates.open_set],
            "curve": None if rates.curve is None else dict(zip(("fpir", "dir", "threshold"), rates.curve)),
            "misses": self._worst(np.flatnonzero(self.searched.rank_Q > 1)),
            "false_alarms": self._worst(np.flatnonzero(self.searched.rank_Q == 0)),
            "xnorm": self.xnorm,
            "diagnosis": [finding.facts() for finding in self.findings],
            "failures": {
                "count": len(self.failures),
                "first": [reason for _, reason in sorted(self.failures.items())[:NAMED_FAILURES]],
            },
        }

    def _worst(self, probes: np.ndarray) -> list[dict[str, Any]]:
        """The probes that are most like somebody else, most alike first."""
        chosen = probes[np.argsort(-self.searched.best_Q[probes], kind="stable")][:WORST]
        return [self._search(int(probe)) for probe in chosen]

    def _search(self, probe: int) -> dict[str, Any]:
        searched, gathering = self.searched, self.gathering
        found = int(self.gallery_G[searched.best_row_Q[probe]])
        own = int(searched.own_row_Q[probe])
        truth = int(self.gallery_G[own]) if own >= 0 else None
        picture = int(self.probe_Q[probe])
        return {
            "probe": gathering.paths[picture],
            "picture": picture,
            "found": gathering.name_of(found),
            "found_picture": found,
            "truth": None if truth is None else gathering.name_of(truth),
            "truth_picture": truth,
            "rank": int(searched.rank_Q[probe]) or None,
            "similarity": float(searched.best_Q[probe]),
        }


class IdentificationTarget:
    """A gallery and probes under a name. `together`: each person is enrolled once, as the mean of their pictures."""

    kind: ClassVar[str] = "identification"

    def __init__(self, name: str, gathering: Gathering, options: Options, *, together: bool) -> None:
        self.name, self.gathering, self.together = name, gathering, together
        self.pictures = FilePictures(gathering.paths, open_aligner(options), note_failures=gathering.skips_failures)

    def require_fit(self, model: Embedder) -> None:
        """InputError unless the model takes pictures of this size, or photos are aligned to the size that it takes."""
        self.pictures.fitted_to(model, self.name)

    def score(self, model: Embedder, *, runtime: Runtime, batch_size: int = 64) -> IdentificationOutcome:
        """Embed all pictures, enrol the gallery and search for every probe; all ranks get the same outcome."""
        pictures, gathering = self.pictures.fitted_to(model, self.name), self.gathering
        embedded = embed_images(model, pictures, runtime=runtime, batch_size=batch_size, title=self.name)
        failures = pictures.all_failures(runtime)
        usable_N = np.ones(len(gathering.paths), bool)
        usable_N[list(failures)] = False
        require_finite(np.where(usable_N[:, None], embedded.emb_ND, 0))
        is_probe_N = gathering.is_probe_N
        emb_ND, person_N = embedded.emb_ND, gathering.person_N
        gallery = np.flatnonzero(~is_probe_N & usable_N)
        if not len(gallery):
            raise InputError(f"{self.name}: no picture of the gallery could be used, first {failures[min(failures)]}")
        # Who was to be enrolled is no stranger, and cannot be found either.
        known_N, enrolled_N = np.isin(person_N, person_N[~is_probe_N]), np.isin(person_N, person_N[gallery])
        searched_N = is_probe_N & usable_N & (enrolled_N | ~known_N)
        probes = np.flatnonzero(searched_N)
        entries_GD, person_G, shown_G = emb_ND[gallery], person_N[gallery], gallery
        if self.together:
            entries_GD, person_G = enrolled(entries_GD, person_G)
            shown_G = gallery[np.searchsorted(person_N[gallery], person_G)]
        searched = search_gallery(entries_GD, person_G, emb_ND[probes], person_N[probes])
        missing = int((is_probe_N & ~searched_N & known_N).sum())
        rates = rates_of(searched, missing=missing)
        return IdentificationOutcome(rates, searched, probes, shown_G, gathering, failures, embedded.xnorm)

    def compare(self, outcomes: Sequence[IdentificationOutcome]) -> list[dict[str, Any]]:
        """Rank 1, by the probes that just one of two models finds (McNemar)."""
        entries = [_compared(outcomes, *pair) for pair in combinations(range(len(outcomes)), 2)]
        return [asdict(entry) for entry in judged([entry for entry in entries if entry is not None])]

    def picture(self, index: int) -> np.ndarray | None:
        """Picture `index` of gallery and probes, as it was embedded; None for one that could not be used."""
        picture = self.pictures[index]
        return None if index in self.pictures.failures else picture


def open_openset(name: str, path: Path, options: Options) -> IdentificationTarget:
    """FOLDER/gallery/NAME/... and FOLDER/probes/NAME/..., or a folder per person, which is then split."""
    gathering = gathered(path, seed=options.seed, skips_failures=options.detector is not None)
    return IdentificationTarget(name, gathering, options, together=True)


def open_tinyface(name: str, path: Path, options: Options) -> IdentificationTarget:
    """TinyFace: every gallery picture is an entry of its own, distractors included."""
    return IdentificationTarget(name, tinyface_gathering(path), options, together=False)


def _compared(outcomes: Sequence[IdentificationOutcome], first: int, second: int) -> Comparison | None:
    one, other = outcomes[first], outcomes[second]
    mated = one.searched.mated_Q
    if not mated.any() or not np.array_equal(one.probe_Q, other.probe_Q):
        return None  # pictures failed in one of them only: the probes are not the same
    found, too = (outcome.searched.rank_Q[mated] == 1 for outcome in (one, other))
    alone = int((found & ~too).sum()), int((too & ~found).sum())
    difference = one.rates.ranks[1] - other.rates.ranks[1]
    # Probes whose picture could not be used are found by neither.
    ends, p_value = difference_interval(*alone, one.rates.mated), mcnemar_p(*alone)
    return Comparison(first, second, "rank-1", difference, *ends, p_value, p_value, MCNEMAR, "")
