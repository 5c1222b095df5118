"""How far chance alone moves the figures of a set of pairs, and what differs between two models on the same pairs.

Intervals are percentiles. Where three or four impostors decide a TAR, they hold the truth in 86 to 94 of 100 cases.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from recognition.errors import InputError
from recognition.verification.curves import allowed_false_accepts, area_under, equal_error_rate
from recognition.verification.protocol import VerificationResult, fold_cells, fold_numbers, scores_of_cells

REPLICATES = 1000
Draw = Callable[[np.random.Generator], np.ndarray]  # weights of the pairs in a drawn set, float64 (P,)
OUTER = (2.5, 97.5)  # percentiles of a 95 % interval


@dataclass(frozen=True)
class Replicates:
    """Figures of R resampled sets: `values` by metric ("accuracy", "auc", "eer", "tar@0.001", ...), float64 (R,).

    A TAR that the set has too few impostors for is left out.
    """

    values: dict[str, np.ndarray]

    def interval(self, metric: str) -> tuple[float, float] | None:
        """95 % interval by percentiles (Efron 1979); None where there are no figures."""
        found_R = self.values.get(metric)
        return None if found_R is None else tuple(np.percentile(found_R, OUTER).tolist())


def resample_pairs(
    results: Sequence[VerificationResult],
    *,
    replicates: int = REPLICATES,
    seed: int = 0,
    subjects_P2: np.ndarray | None = None,
) -> list[Replicates]:
    """The figures of each model's result on sets drawn with replacement, the same sets for all of them.

    Pairs are drawn within each fold and kind, so that every drawn set has the shape of the real one; thresholds are
    chosen anew on each, so the figures vary with them, too. Pairs of one person are not independent: where the two
    people of each pair are known, int64 (P, 2), people are drawn instead, and a pair counts as often as its person
    was drawn, one of two people as often as both (Bolle, Ratha, Pankanti 2004). InputError when the pairs differ.
    """
    require_same_pairs(results)
    issame_P, folds = results[0].issame_P, len(results[0].fold_accuracies)
    draw = np.random.default_rng(seed)
    draw_weights = _drawn_people(subjects_P2) if subjects_P2 is not None else _drawn_pairs(issame_P, folds)
    prepared = [_Prepared(result) for result in results]
    rows: list[list[dict[str, float]]] = [[] for _ in results]
    for _ in range(replicates):
        weights_P = draw_weights(draw)
        while not (weights_P[issame_P].any() and weights_P[~issame_P].any()):  # of a few people nobody may be drawn
            weights_P = draw_weights(draw)
        for place, model in enumerate(prepared):
            rows[place].append(model.figures(weights_P))
    return [
        Replicates({metric: np.array([row[metric] for row in of_model]) for metric in of_model[0]}) for of_model in rows
    ]


def require_same_pairs(results: Sequence[VerificationResult]) -> None:
    """InputError unless all results are of one set of pairs, cut into the same folds."""
    for result in results[1:]:
        same_folds = len(result.fold_accuracies) == len(results[0].fold_accuracies)
        if not (same_folds and np.array_equal(result.issame_P, results[0].issame_P)):
            raise InputError("results of different sets of pairs cannot be compared; verify all models on one set")


class _Prepared:
    """What does not change from one drawn set to the next."""

    def __init__(self, result: VerificationResult) -> None:
        self.folds = len(result.fold_accuracies)
        self.cell_P = fold_cells(result.distances_P, result.issame_P, self.folds)
        distinct, self.rank_P = np.unique(result.distances_P, return_inverse=True)
        self.kind_rank_P = self.rank_P + len(distinct) * result.issame_P
        self.num_ranks = len(distinct)
        self.fars = [point.far for point in result.operating_points if point.tar is not None]

    def figures(self, weights_P: np.ndarray) -> dict[str, float]:
        """All metrics, each pair counted as often as its weight says."""
        accuracy_F, _ = scores_of_cells(self.cell_P, self.folds, weights_P)
        of_kind_2K = (
            np.bincount(self.kind_rank_P, weights_P, minlength=2 * self.num_ranks).reshape(2, -1).cumsum(axis=1)
        )
        impostor_K, genuine_K = of_kind_2K
        far, tar = np.r_[0.0, impostor_K / impostor_K[-1]], np.r_[0.0, genuine_K / genuine_K[-1]]
        found = {
            "accuracy": float(np.nanmean(accuracy_F)),
            "auc": area_under(far, tar),
            "eer": equal_error_rate(far, tar),
        }
        for rate in self.fars:
            allowed = allowed_false_accepts(rate, impostor_K[-1])
            # The last distance before the first impostor that is one too many.
            last = int(np.searchsorted(impostor_K, allowed, side="right"))
            found[f"tar@{rate:g}"] = float(tar[last])
        return found


def _drawn_pairs(issame_P: np.ndarray, folds: int) -> Draw:
    stratum_P = fold_numbers(len(issame_P), folds) * 2 + issame_P
    order_P = np.argsort(stratum_P, kind="stable")
    _, starts, counts = np.unique(stratum_P[order_P], return_index=True, return_counts=True)
    start_P, count_P = np.repeat(starts, counts), np.repeat(counts, counts)

    def weights(draw: np.random.Generator) -> np.ndarray:
        drawn_P = start_P + (draw.random(len(order_P)) * count_P).astype(np.int64)
        return np.bincount(order_P[drawn_P], minlength=len(order_P)).astype(np.float64)

    return weights


def _drawn_people(subjects_P2: np.ndarray) -> Draw:
    people, index = np.unique(subjects_P2, return_inverse=True)
    first_P, second_P = index.reshape(-1, 2).T

    def weights(draw: np.random.Generator) -> np.ndarray:
        times = np.bincount(draw.integers(0, len(people), len(people)), minlength=len(people)).astype(np.float64)
        return np.where(first_P == second_P, times[first_P], times[first_P] * times[second_P])

    return weights
