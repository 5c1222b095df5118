"""How far chance alone moves the figures of a set of pairs: 95 % intervals by the Bayesian bootstrap.

Every figure is computed on sets weighted anew (`pair_weights.py`), thresholds chosen anew on each, so that their
uncertainty is in the intervals. A plain bootstrap believes that nothing exists but what was seen: of a set without an
error it says that there are none, and of a FAR that three impostors decide it takes thresholds for too generous ones.
So each kind of pairs has one more that was not seen: as bad as can be for the low ends, as good as can be for the high
ones. Percentiles of shares are then the ends of Clopper and Pearson's interval (1934), those at the threshold of a FAR
the exact ones between order statistics; and so they err to the safe side. Where even the nearest impostor may lie
beyond the threshold of a FAR (four expected below it are the least that can tell) the low end of the TAR is 0.

R resamples, P pairs, F folds, K thresholds of a fold, T distinct distances.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from recognition.errors import InputError
from recognition.verification.pair_weights import Weights, draw_weights
from recognition.verification.protocol import THRESHOLDS, VerificationResult, fold_cells, fold_numbers

REPLICATES = 1000
PAIRS, PEOPLE = "pairs", "people"
_TAIL = 0.025  # beyond either end of a 95 % interval
_ROUNDING = 1e-12  # of sums of shares that add up to 1


@dataclass(frozen=True)
class Replicates:
    """Figures of R resamples: `values` by metric ("accuracy", "auc", "eer", "tar@0.001", ...), float64 (2, R).

    [0] and [1] are those with what was not seen placed so that the figure is lowest, and highest; its weights among
    the genuine and among the impostor pairs are `unseen_genuine_R` and `unseen_impostor_R`. `unit`: what was taken for
    independent, PAIRS or PEOPLE. A TAR that the set has too few impostors for is left out.
    """

    values: dict[str, np.ndarray]
    unseen_genuine_R: np.ndarray
    unseen_impostor_R: np.ndarray
    unit: str

    def interval(self, metric: str) -> tuple[float, float] | None:
        """95 % interval by percentiles; None where there are no figures."""
        return interval_of(*self.values[metric]) if metric in self.values else None


def interval_of(low_R: np.ndarray, high_R: np.ndarray) -> tuple[float, float]:
    """The 2.5 % percentile of the lower figures and the 97.5 % percentile of the higher ones."""
    low = np.quantile(low_R, _TAIL, method="inverted_cdf")
    return float(low), float(np.quantile(high_R, 1 - _TAIL, method="inverted_cdf"))


def resample_pairs(
    results: Sequence[VerificationResult],
    *,
    replicates: int = REPLICATES,
    seed: int = 0,
    people_P2: np.ndarray | Sequence | None = None,
) -> list[Replicates]:
    """The figures of each model's result on resampled sets, the same sets for all of them and for the same arguments.

    `people_P2` (P, 2): who is on the two pictures of each pair, as numbers or text; pairs of one person are not
    independent, and where this is known people are resampled instead of pairs. InputError when the results' pairs
    differ, the people do not fit or contradict the flags, or of fewer than 2 replicates.
    """
    require_same_pairs(results)
    if replicates < 2:
        raise InputError(f"{replicates} replicates cannot make an interval; use 2 at least, better {REPLICATES}")
    models = [_figures_of(result) for result in results]
    found: list[list[dict[str, np.ndarray]]] = [[] for _ in results]
    unseen_genuine, unseen_impostor = [], []
    for weights in draw_weights(results[0].issame_P, people_P2, replicates=replicates, seed=seed):
        unseen_genuine.append(weights.unseen_genuine_R)
        unseen_impostor.append(weights.unseen_impostor_R)
        for of_model, figures in zip(found, models):
            of_model.append(figures(weights))
    unseen = np.concatenate(unseen_genuine), np.concatenate(unseen_impostor)
    unit = PAIRS if people_P2 is None else PEOPLE
    return [
        Replicates({m: np.concatenate([part[m] for part in parts], axis=1) for m in parts[0]}, *unseen, unit)
        for parts in found
    ]


def require_same_pairs(results: Sequence[VerificationResult]) -> None:
    """InputError unless all results are of one set of pairs, cut into the same folds."""
    for result in results[1:]:
        same_folds = len(result.fold_accuracies) == len(results[0].fold_accuracies)
        if not (same_folds and np.array_equal(result.issame_P, results[0].issame_P)):
            raise InputError("results of different sets of pairs cannot be compared; verify all models on one set")


def _figures_of(result: VerificationResult) -> Callable[[Weights], dict[str, np.ndarray]]:
    accuracy_at, rates_at = _accuracy_of(result), _rates_of(result)
    return lambda weights: {"accuracy": accuracy_at(weights)} | rates_at(weights)


def _rates_of(result: VerificationResult) -> Callable[[Weights], dict[str, np.ndarray]]:
    """AUC, EER and TARs of resamples.

    Place 0 of the T + 1 places on an ROC accepts nothing that was seen, place t what lies up to the t-th distance.
    """
    issame_P, distances_P = result.issame_P, result.distances_P
    impostors, genuines = (_nearest_first(distances_P, of_kind_P) for of_kind_P in (~issame_P, issame_P))
    at_T = np.unique(distances_P)
    impostor_at, genuine_at = (
        np.r_[0, np.searchsorted(distances_P[pairs], at_T, side="right")] for pairs in (impostors, genuines)
    )
    nearer_G, not_farther_G = (
        np.searchsorted(distances_P[impostors], distances_P[genuines], side) for side in ("left", "right")
    )
    fars = [point.far for point in result.operating_points if point.tar is not None]

    def rates(weights: Weights) -> dict[str, np.ndarray]:
        impostor_RI, genuine_RG = weights.pairs_RP[:, impostors], weights.pairs_RP[:, genuines]
        far_RI, tar_RG = _accepted(impostor_RI), _accepted(genuine_RG)
        # [0]: the unseen impostor lies nearer than all, the unseen genuine pair beyond all. [1]: the other way round.
        more_far_2R = np.stack([weights.unseen_impostor_R, np.zeros(len(far_RI))])
        more_tar_2R = np.stack([np.zeros(len(far_RI)), weights.unseen_genuine_R])
        row_R = np.arange(len(far_RI))

        def far(place_2R: np.ndarray) -> np.ndarray:
            return far_RI[row_R, impostor_at[place_2R]] + more_far_2R

        def tar(place_2R: np.ndarray) -> np.ndarray:
            return tar_RG[row_R, genuine_at[place_2R]] + more_tar_2R

        def last(holds: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
            return _last_place(holds, len(at_T), more_far_2R.shape)

        impostors_nearer_RG = (far_RI[:, nearer_G] + far_RI[:, not_farther_G]) / 2
        unseen_genuine_R, unseen_impostor_R = weights.unseen_genuine_R, weights.unseen_impostor_R
        seen_R = (1 - unseen_impostor_R) * tar_RG[:, -1] - np.einsum("rg,rg->r", genuine_RG, impostors_nearer_RG)
        unseen_R = unseen_genuine_R + unseen_impostor_R - unseen_genuine_R * unseen_impostor_R
        # Where FAR = 1 - TAR on straight lines between the places, as curves.equal_error_rate has it.
        before_2R = last(lambda place_2R: far(place_2R) + tar(place_2R) < 1)
        from_far_2R, to_far_2R = far(before_2R), far(before_2R + 1)
        excess_2R = from_far_2R + tar(before_2R) - 1
        share_2R = excess_2R / (excess_2R - (to_far_2R + tar(before_2R + 1) - 1))
        eer_2R = from_far_2R + share_2R * (to_far_2R - from_far_2R)
        found = {"auc": np.stack([seen_R, seen_R + unseen_R]), "eer": eer_2R[::-1]}
        for rate in fars:
            # Where even place 0 accepts too many impostors, its TAR is 0 all the same.
            found[f"tar@{rate:g}"] = tar(last(lambda place_2R, rate=rate: far(place_2R) <= rate))
        return found

    return rates


def _nearest_first(distances_P: np.ndarray, of_kind_P: np.ndarray) -> np.ndarray:
    """The numbers of the pairs of a kind in the order of their distance."""
    pairs = np.flatnonzero(of_kind_P)
    return pairs[np.argsort(distances_P[pairs], kind="stable")]


def _accepted(weights_RN: np.ndarray) -> np.ndarray:
    """The weight of the first 0, 1, ..., N."""
    total = np.zeros((len(weights_RN), weights_RN.shape[1] + 1))
    np.cumsum(weights_RN, axis=1, out=total[:, 1:])
    return total


def _last_place(holds: Callable[[np.ndarray], np.ndarray], most: int, shape: tuple[int, ...]) -> np.ndarray:
    """The last place from 0 to `most` at which what holds of earlier ones holds still; 0 where it never does."""
    low, high = np.zeros(shape, np.int64), np.full(shape, most + 1)
    while (high - low > 1).any():
        middle = (low + high) // 2
        held = holds(middle)
        low, high = np.where(held, middle, low), np.where(held, high, middle)
    return low


def _accuracy_of(result: VerificationResult) -> Callable[[Weights], np.ndarray]:
    """Accuracy (2, R) of resamples, each fold's threshold chosen on the others; folds and kinds count as in the set."""
    num_pairs, folds, num_bins = len(result.issame_P), len(result.fold_accuracies), len(THRESHOLDS) + 1
    row_P, bin_P = np.divmod(fold_cells(result.distances_P, result.issame_P, folds), num_bins)
    # Thresholds that accept the same pairs are one; the first accepts none, and of the last bin none is ever accepted.
    bins, bin_P = np.unique(np.r_[0, bin_P, num_bins - 1], return_inverse=True)
    cell_P = row_P * len(bins) + bin_P[1:-1]
    order_P = np.argsort(cell_P, kind="stable")
    cells, starts = np.unique(cell_P[order_P], return_index=True)
    # A fold counts the same however many pairs it has.
    fold_P = fold_numbers(num_pairs, folds)
    scale_F = num_pairs / (folds * np.bincount(fold_P, minlength=folds))
    genuine = float(scale_F[fold_P] @ result.issame_P) / num_pairs
    share_2 = np.array([1 - genuine, genuine])

    def accuracy(weights: Weights) -> np.ndarray:
        resamples = len(weights.pairs_RP)
        cell_RC = np.zeros((resamples, folds * 2 * len(bins)))
        cell_RC[:, cells] = np.add.reduceat(weights.pairs_RP[:, order_P], starts, axis=1)
        accepted_RF2K = np.cumsum(cell_RC.reshape(resamples, folds, 2, len(bins)), axis=3)
        total_RF2 = accepted_RF2K[..., -1]
        right_RF2K = accepted_RF2K[..., :-1]
        right_RF2K[:, :, 0] = total_RF2[:, :, :1] - right_RF2K[:, :, 0]
        both_RFK = right_RF2K[:, :, 0] * share_2[0] + right_RF2K[:, :, 1] * share_2[1]
        others_RFK = both_RFK.sum(axis=1, keepdims=True) - both_RFK
        # Thresholds between which only this fold has pairs are equal but for rounding: the first of them.
        chosen_RF = np.argmax(others_RFK >= others_RFK.max(axis=2, keepdims=True) - _ROUNDING, axis=2)
        right_RF2 = np.take_along_axis(right_RF2K, chosen_RF[:, :, None, None], axis=3)[..., 0]
        unseen_R2 = np.stack([weights.unseen_impostor_R, weights.unseen_genuine_R], axis=1)
        right_R2, total_R2 = (np.einsum("rfk,f->rk", of_fold, scale_F) for of_fold in (right_RF2, total_RF2))
        total_R2 += unseen_R2
        return np.stack([right_R2 / total_R2 @ share_2, (right_R2 + unseen_R2) / total_R2 @ share_2])

    return accuracy
