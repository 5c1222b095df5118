"""Pairs of pictures, the same person or not: LFW, CFP-FP, AgeDB-30 and their like."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from torch import Tensor

from recognition.data.pictures import pictures_at
from recognition.embedding.diagnosis import diagnose
from recognition.embedding.files import FilePictures
from recognition.embedding.finding import Finding
from recognition.embedding.models import Embedder
from recognition.embedding.over_ranks import embed_images
from recognition.embedding.symptoms import require_finite
from recognition.errors import InputError
from recognition.runtime import Runtime
from recognition.spread import spread
from recognition.targets.group_column import read_groups
from recognition.targets.target import DEEP, OFF, Options
from recognition.verification.bootstrap import PAIRS, PEOPLE, REPLICATES, Replicates, resample_pairs
from recognition.verification.comparison import compare_pairs
from recognition.verification.groups import Group, disparity, group_results
from recognition.verification.pairs import Pairs, open_pair_file
from recognition.verification.protocol import VerificationResult, verify_pairs

WORST = 6
MAX_POINTS = 1000


@dataclass(frozen=True)
class PairsOutcome:
    """What a model made of one set: the protocol's figures, and the mean length of its embeddings.

    `replicates`: resamples for the intervals, 0 for none, beginning at `seed`, of people where `people_P2` says who is
    on the two pictures of each pair, of pairs else; `groups_P`: the group of each pair; `names`: of the pictures 2p and
    2p+1 of pair p, where they have any.
    """

    result: VerificationResult
    xnorm: float
    replicates: int = REPLICATES
    seed: int = 0
    groups_P: Sequence[str] | None = None
    names: Sequence[str] | None = None
    findings: Sequence[Finding] = ()
    people_P2: Sequence[tuple[str, str]] | None = None

    @property
    def warnings(self) -> Sequence[str]:
        """Those of the protocol."""
        return self.result.warnings

    @cached_property
    def drawn(self) -> Replicates | None:
        """Figures of the resamples; outcomes of one set have the same ones. Taken when first asked for: a second."""
        if not self.replicates:
            return None
        settings = {"replicates": self.replicates, "seed": self.seed, "people_P2": self.people_P2}
        return resample_pairs([self.result], **settings)[0]

    def line(self) -> str:
        """Accuracy, AUC, EER, TAR at the FARs that the set can tell, mean length of embeddings."""
        result = self.result
        tar = "".join(f"  TAR@{far:g} {value:.4f}" for far, value in result.tar_at_far.items() if value is not None)
        return (
            f"accuracy {result.accuracy:.4f} +- {result.accuracy_std:.4f}  AUC {result.auc:.4f}  "
            f"EER {result.eer:.4f}{tar}  XNorm {self.xnorm:.2f}  ({len(result.issame_P)} pairs)"
        )

    def facts(self) -> dict[str, Any]:
        """As report.schema.json has them for pairs."""
        result = self.result
        accepted_P = result.distances_P < result.threshold
        false_accepts = np.flatnonzero(accepted_P & ~result.issame_P)
        false_rejects = np.flatnonzero(~accepted_P & result.issame_P)
        edges, genuine, impostor = score_histogram(result)
        keep = spread(len(result.roc_far), MAX_POINTS)
        return {
            "pairs": len(result.issame_P),
            "genuine": result.num_genuine,
            "impostor": result.num_impostor,
            "accuracy": result.accuracy,
            "accuracy_std": result.accuracy_std,
            "fold_accuracies": result.fold_accuracies,
            "fold_thresholds": result.fold_thresholds,
            "threshold": result.threshold,
            "auc": result.auc,
            "eer": result.eer,
            "tar_at_far": {f"{far:g}": tar for far, tar in result.tar_at_far.items()},
            "operating_points": [self._point(point) for point in result.operating_points],
            "xnorm": self.xnorm,
            "diagnosis": [finding.facts() for finding in self.findings],
            **self._intervals(),
            **self._groups(),
            "num_false_accepts": len(false_accepts),
            "num_false_rejects": len(false_rejects),
            "false_accepts": self._worst(false_accepts, sign=1),
            "false_rejects": self._worst(false_rejects, sign=-1),
            "roc": {"far": result.roc_far[keep], "tar": result.roc_tar[keep], "distance": result.roc_distances[keep]},
            "histogram": {"cosine_edges": edges, "genuine": genuine, "impostor": impostor},
        }

    def _point(self, point: Any) -> dict[str, Any]:
        low, high = self._interval(f"tar@{point.far:g}") or (None, None)
        return asdict(point) | {"low": low, "high": high}

    def _interval(self, metric: str) -> tuple[float, float] | None:
        return self.drawn and self.drawn.interval(metric)

    def _intervals(self) -> dict[str, Any]:
        if self.drawn is None:
            return {}
        return {
            "intervals": {metric: self._interval(metric) for metric in ("accuracy", "auc", "eer")},
            "resampling": {"unit": self.drawn.unit, "replicates": self.replicates, "seed": self.seed},
        }

    def _groups(self) -> dict[str, Any]:
        if self.groups_P is None:
            return {}
        groups = group_results(self.result, self.groups_P)
        fars = list(groups[0].rates)
        return {
            "groups": [_group_facts(group) for group in groups],
            "disparity": {f"{far:g}": asdict(disparity(groups, far)) for far in fars},
        }

    def _worst(self, pairs: np.ndarray, *, sign: int) -> list[dict[str, Any]]:
        """The `WORST` pairs with the smallest sign * distance."""
        distances_P = self.result.distances_P
        chosen = pairs[np.argsort(sign * distances_P[pairs], kind="stable")][:WORST]
        entries = [{"pair": int(p), "distance": distances_P[p], "cosine": cosine(distances_P[p])} for p in chosen]
        if self.names is not None:
            for entry in entries:
                entry |= {"first": self.names[2 * entry["pair"]], "second": self.names[2 * entry["pair"] + 1]}
        return entries


class PairsTarget:
    """A set of pairs under a name, as `pairs` has it: pictures 2p and 2p+1 are those of pair p.

    Or, where pictures stand in several pairs, `pictures` has each once and `rows_N` says which are 2p and 2p+1.
    """

    kind: ClassVar[str] = "pairs"

    def __init__(
        self,
        name: str,
        pairs: Pairs,
        *,
        rows_N: np.ndarray | None = None,
        names: Sequence[str] | None = None,
        groups_P: Sequence[str] | None = None,
        people_P2: Sequence[tuple[str, str]] | None = None,
        options: Options | None = None,
    ) -> None:
        self.name, self.pairs, self.rows_N, self.names = name, pairs, rows_N, names
        self.groups_P, self.people_P2, self.options = groups_P, people_P2, options or Options()

    def require_fit(self, model: Embedder) -> None:
        """InputError unless the model takes pictures of this size, or photos are aligned to the size that it takes."""
        self._pairs_for(model)

    def score(
        self, model: Embedder | Callable[[Tensor], Tensor], *, runtime: Runtime, batch_size: int = 64
    ) -> PairsOutcome:
        """Verify `model` (see `embed_images`) on the pairs; every rank takes part and gets the same outcome."""
        pairs = self.pairs
        if isinstance(model, Embedder):
            pairs = self._pairs_for(model)
        embedded = embed_images(model, pairs.images, runtime=runtime, batch_size=batch_size, title=self.name)
        require_finite(embedded.emb_ND)
        emb_ND = embedded.emb_ND if self.rows_N is None else embedded.emb_ND[self.rows_N]
        options, issame_P, findings = self.options, pairs.issame, ()
        result = verify_pairs(emb_ND, issame_P)
        if options.diagnose != OFF:
            looking = {"deep": options.diagnose == DEEP, "emb_ND": emb_ND, "batch_size": batch_size}
            pictures = pairs.images if self.rows_N is None else pictures_at(pairs.images, self.rows_N)
            findings = diagnose(model, pictures, issame_P, runtime=runtime, **looking)
        known = {"groups_P": self.groups_P, "people_P2": self.people_P2, "names": self.names}
        return PairsOutcome(result, embedded.xnorm, options.replicates, options.seed, findings=tuple(findings), **known)

    def compare(self, outcomes: Sequence[PairsOutcome]) -> list[dict[str, Any]]:
        """Every two models by every metric, on the same resamples; [] without any."""
        if len(outcomes) < 2 or outcomes[0].drawn is None:
            return []
        results, drawn = [outcome.result for outcome in outcomes], [outcome.drawn for outcome in outcomes]
        return [asdict(entry) for entry in compare_pairs(results, drawn)]

    def picture(self, index: int) -> np.ndarray | None:
        """One of the two of pair index // 2."""
        return self.pairs.images[index if self.rows_N is None else int(self.rows_N[index])]

    def _pairs_for(self, model: Embedder) -> Pairs:
        images = self.pairs.images
        if isinstance(images, FilePictures):
            return Pairs(images.fitted_to(model, self.name), self.pairs.issame)
        model.require_size(*self.pairs.size, self.name)
        return self.pairs


def open_bin(name: str, path: Path, options: Options) -> PairsTarget:
    """The set in a `.bin` file; InputError where it cannot be read."""
    pairs = open_pair_file(path)
    groups_P = read_groups(options.groups, range(len(pairs))) if options.groups else None
    people_P2 = resampled_people(name, None, options)
    return PairsTarget(name, pairs, groups_P=groups_P, people_P2=people_P2, options=options)


def resampled_people(
    name: str, people_P2: Sequence[tuple[str, str]] | None, options: Options
) -> Sequence[tuple[str, str]] | None:
    """The people if these are to be resampled, None if pairs are; InputError for people who are not known."""
    if options.unit == PEOPLE and people_P2 is None:
        raise InputError(
            f"--unit people: {name} does not say who is on its pictures; give a list with the columns first_person and "
            "second_person, or leave --unit out"
        )
    return None if options.unit == PAIRS else people_P2


def score_histogram(result: VerificationResult) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Edges of 40 bins over the cosine similarities that occur, and the genuine and impostor pairs in each."""
    cosines_P = cosine(result.distances_P)
    edges = np.linspace(min(cosines_P.min(), 0), max(cosines_P.max(), 0.1), 41)
    genuine, _ = np.histogram(cosines_P[result.issame_P], edges)
    impostor, _ = np.histogram(cosines_P[~result.issame_P], edges)
    return edges, genuine, impostor


def cosine(distance: np.ndarray | float) -> np.ndarray | float:
    """Cosine of two unit vectors from their squared distance: |a - b|^2 = 2 - 2 cos."""
    return 1 - distance / 2


def _group_facts(group: Group) -> dict[str, Any]:
    low, high = group.accuracy_interval
    counts = {"group": group.name, "pairs": group.pairs, "genuine": group.genuine, "impostor": group.impostor}
    accuracy = {"accuracy": group.accuracy, "accuracy_low": low, "accuracy_high": high}
    return counts | accuracy | {"rates": {f"{far:g}": _rate_facts(rates) for far, rates in group.rates.items()}}


def _rate_facts(rates: Any) -> dict[str, Any]:
    (fmr_low, fmr_high), (fnmr_low, fnmr_high) = (
        interval or (None, None) for interval in (rates.fmr_interval, rates.fnmr_interval)
    )
    fmr = {"fmr": rates.fmr, "fmr_low": fmr_low, "fmr_high": fmr_high}
    return fmr | {"fnmr": rates.fnmr, "fnmr_low": fnmr_low, "fnmr_high": fnmr_high}
