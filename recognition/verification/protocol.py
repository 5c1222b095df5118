"""How well embeddings tell same from different: LFW's 10-fold protocol, TAR at fixed FAR, AUC, EER. Pure numpy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from recognition.errors import InputError
from recognition.verification.curves import (
    OperatingPoint,
    area_under,
    equal_error_rate,
    operating_points,
    roc_curve,
)

BLOCK_PAIRS = 128  # 1 MB of 512 numbers each
THRESHOLDS = np.arange(0, 4, 0.01)  # squared distances of unit vectors, as arcface_torch scans them


@dataclass(frozen=True)
class VerificationResult:
    """Scores of one set. Distances are squared L2 of unit vectors, 0 to 4; a pair is accepted when strictly below."""

    accuracy: float
    """Mean over the folds; the threshold of each fold is chosen on the other folds (Huang et al. 2007, LFW)."""
    accuracy_std: float
    """Population standard deviation over the folds."""
    fold_accuracies: tuple[float, ...]
    fold_thresholds: tuple[float, ...]
    threshold: float
    """Mean of `fold_thresholds`: the one to quote when a single decision is wanted."""
    tar_at_far: dict[float, float | None]
    """Genuine pairs accepted when at most this share of impostor pairs is; None with fewer than 1/FAR impostors."""
    operating_points: tuple[OperatingPoint, ...]
    """The same with thresholds, and how many false accepts decide."""
    auc: float
    """Probability that a genuine pair is closer than an impostor pair, ties counted half."""
    eer: float
    """Error rate where false accepts and false rejects are equal, by linear interpolation of the ROC."""
    num_genuine: int
    num_impostor: int
    distances_P: np.ndarray
    issame_P: np.ndarray
    roc_far: np.ndarray
    """False and true accept rate just above each distinct distance, from (0, 0) to (1, 1)."""
    roc_tar: np.ndarray
    roc_distances: np.ndarray
    """Distance up to and including which a point of the ROC accepts; -inf for its first point."""
    warnings: tuple[str, ...]
    """What a reader should know before trusting the figures, one sentence each."""


def verify_pairs(embeddings: np.ndarray, issame: np.ndarray, folds: int = 10) -> VerificationResult:
    """Score embeddings (2P, D), pair p in rows 2p and 2p+1, of any norm, against P same-person flags.

    InputError when shapes do not fit, a value is not finite, or one of the two kinds of pairs is absent.
    """
    embeddings_ND = np.asarray(embeddings)
    issame_P = np.asarray(issame, bool)
    _check(embeddings_ND, issame_P, folds)
    measured = measure_pairs(embeddings_ND)
    _require_finite(embeddings_ND, measured)
    distances_P = measured.distances_P
    accuracies, thresholds = fold_scores(distances_P, issame_P, folds)
    far, tar, at = roc_curve(distances_P, issame_P)
    genuine, impostor = distances_P[issame_P], distances_P[~issame_P]
    points = operating_points(genuine, impostor)
    auc = area_under(far, tar)
    return VerificationResult(
        accuracy=float(np.mean(accuracies)),
        accuracy_std=float(np.std(accuracies)),
        fold_accuracies=tuple(accuracies.tolist()),
        fold_thresholds=tuple(thresholds.tolist()),
        threshold=float(np.mean(thresholds)),
        tar_at_far={point.far: point.tar for point in points},
        operating_points=points,
        auc=auc,
        eer=equal_error_rate(far, tar),
        num_genuine=len(genuine),
        num_impostor=len(impostor),
        distances_P=distances_P,
        issame_P=issame_P,
        roc_far=far,
        roc_tar=tar,
        roc_distances=at,
        warnings=tuple(_warnings(measured, auc)),
    )


@dataclass(frozen=True)
class Measured:
    """Of P pairs: squared L2 distances (P,) of their unit vectors, lengths (2P,), and the mean unit vector (D,)."""

    distances_P: np.ndarray
    norms_N: np.ndarray
    mean_D: np.ndarray


def measure_pairs(embeddings_ND: np.ndarray) -> Measured:
    """Measure rows 2p and 2p+1 of (2P, D) in float64, in one pass over blocks that the cache holds.

    Rows of zeros stay zeros. A row that is not finite has a length that is not.
    """
    num_pairs, dim = len(embeddings_ND) // 2, embeddings_ND.shape[1]
    distances_P, norms_N, sum_D = np.empty(num_pairs), np.empty(2 * num_pairs), np.zeros(dim)
    for start in range(0, num_pairs, BLOCK_PAIRS):
        pairs = slice(start, min(start + BLOCK_PAIRS, num_pairs))
        rows_BD = np.asarray(embeddings_ND[2 * pairs.start : 2 * pairs.stop], np.float64)
        with np.errstate(invalid="ignore", over="ignore"):
            norms_B = np.sqrt(_squared_lengths(rows_BD))
            lengths_B = np.where(norms_B == 0, 1, norms_B)
            sum_D += (1 / lengths_B) @ rows_BD
            # |a / |a| - b / |b||: only b is scaled, to the length of a, so that equal rows are 0 apart.
            first_BD, second_BD = rows_BD[0::2], rows_BD[1::2]
            ratio_B = lengths_B[0::2] / lengths_B[1::2]
            between_BD = second_BD * ratio_B[:, None]
            np.subtract(first_BD, between_BD, out=between_BD)
            distances_P[pairs] = _squared_lengths(between_BD) / np.square(lengths_B[0::2])
        norms_N[2 * pairs.start : 2 * pairs.stop] = norms_B
    return Measured(distances_P, norms_N, sum_D / max(len(norms_N), 1))


def pair_distances(embeddings_ND: np.ndarray) -> np.ndarray:
    """The distances alone, float64 (P,)."""
    return measure_pairs(embeddings_ND).distances_P


def _squared_lengths(rows_BD: np.ndarray) -> np.ndarray:
    return (rows_BD[:, None, :] @ rows_BD[:, :, None])[:, 0, 0]


def fold_scores(
    distances_P: np.ndarray, issame_P: np.ndarray, folds: int, weights_P: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Accuracy and chosen threshold of each fold; folds are contiguous in file order, as KFold without shuffling.

    `weights_P`: as how many pairs each one counts. One histogram per fold and kind replaces a pass over the pairs for
    each threshold: a pair is accepted at every threshold after the ones that are at most its distance.
    """
    return scores_of_cells(fold_cells(distances_P, issame_P, folds), folds, weights_P)


def fold_numbers(num_pairs: int, folds: int) -> np.ndarray:
    """The fold of each pair, int64 (P,): contiguous, the first ones larger by one where they do not divide."""
    sizes_F = np.full(folds, num_pairs // folds) + (np.arange(folds) < num_pairs % folds)
    return np.repeat(np.arange(folds), sizes_F)


def fold_cells(distances_P: np.ndarray, issame_P: np.ndarray, folds: int) -> np.ndarray:
    """Which cell of the histogram by fold, kind and threshold each pair falls into, int64 (P,)."""
    bin_P = np.searchsorted(THRESHOLDS, distances_P, side="right")
    return (fold_numbers(len(distances_P), folds) * 2 + issame_P) * (len(THRESHOLDS) + 1) + bin_P


def scores_of_cells(
    cell_P: np.ndarray, folds: int, weights_P: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Accuracy and threshold of each fold from the pairs' cells; a fold without weight has no accuracy (NaN)."""
    num_bins = len(THRESHOLDS) + 1
    counts = np.bincount(cell_P, weights_P, minlength=folds * 2 * num_bins).reshape(folds, 2, num_bins)
    accepted = np.cumsum(counts, axis=2)[:, :, :-1]
    impostors_F1 = counts[:, 0].sum(axis=1, keepdims=True)
    correct_FT = accepted[:, 1] + impostors_F1 - accepted[:, 0]
    chosen_F = np.argmax(correct_FT.sum(axis=0) - correct_FT, axis=1)  # argmax takes the first of equals
    with np.errstate(invalid="ignore"):
        return correct_FT[np.arange(folds), chosen_F] / counts.sum(axis=(1, 2)), THRESHOLDS[chosen_F]


def require_scorable(issame_P: np.ndarray, folds: int = 10) -> None:
    """InputError unless these flags (P,) can be scored: enough pairs for the folds, and both kinds among them."""
    if not 2 <= folds <= len(issame_P):
        raise InputError(f"{len(issame_P)} pairs cannot make {folds} folds; use between 2 folds and one per pair")
    if issame_P.all() or not issame_P.any():
        kind = "same-person" if issame_P.all() else "different-person"
        raise InputError(f"all {len(issame_P)} pairs are {kind} pairs; a verification set needs both kinds")


def _check(embeddings_ND: np.ndarray, issame_P: np.ndarray, folds: int) -> None:
    if embeddings_ND.ndim != 2 or issame_P.ndim != 1 or len(embeddings_ND) != 2 * len(issame_P):
        raise InputError(
            f"{embeddings_ND.shape} embeddings do not fit {issame_P.shape} flags; give 2P rows for P pairs"
        )
    require_scorable(issame_P, folds)


def _require_finite(embeddings_ND: np.ndarray, measured: Measured) -> None:
    if np.isfinite(measured.norms_N).all():
        return
    # Lengths overflow above 1e154, where the numbers themselves are finite still.
    finite_N = np.isfinite(embeddings_ND).all(axis=1) & np.isfinite(measured.norms_N)
    if not finite_N.all():
        row = int(np.argmin(finite_N))
        raise InputError(
            f"{int((~finite_N).sum())} of {len(finite_N)} embeddings are NaN or infinite, first that of image {row} "
            f"(pair {row // 2}); the network has diverged or its weights are damaged, so no accuracy can be given"
        )


def _warnings(measured: Measured, auc: float) -> list[str]:
    norms_N = measured.norms_N
    found = []
    if zeros := int((norms_N == 0).sum()):
        found.append(f"{zeros} of {len(norms_N)} embeddings are all zeros; the network says nothing about these images")
    # Mean squared distance of unit vectors from their mean: E|u|^2 - |E u|^2.
    spread = float(np.sqrt(max(np.mean(norms_N != 0) - np.square(measured.mean_D).sum(), 0.0)))
    if spread < 1e-3:
        found.append(
            f"all embeddings point in nearly the same direction (spread {spread:.1e}): the network is untrained, "
            "has collapsed, or its input is not normalised as it expects"
        )
    if auc < 0.5:
        found.append(f"AUC {auc:.3f} is worse than guessing: same-person pairs are farther apart than different ones")
    return found
