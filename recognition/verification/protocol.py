"""How well embeddings tell same from different: LFW's 10-fold protocol, TAR at fixed FAR, AUC, EER. Pure numpy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from recognition.errors import InputError
from recognition.verification.curves import FARS, area_under, equal_error_rate, roc_curve, tar_at

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
    embeddings_ND = np.asarray(embeddings, np.float64)
    issame_P = np.asarray(issame, bool)
    _check(embeddings_ND, issame_P, folds)
    distances_P = pair_distances(embeddings_ND)
    accuracies, thresholds = fold_scores(distances_P, issame_P, folds)
    far, tar, at = roc_curve(distances_P, issame_P)
    genuine, impostor = distances_P[issame_P], np.sort(distances_P[~issame_P])
    auc = area_under(far, tar)
    return VerificationResult(
        accuracy=float(np.mean(accuracies)),
        accuracy_std=float(np.std(accuracies)),
        fold_accuracies=tuple(accuracies.tolist()),
        fold_thresholds=tuple(thresholds.tolist()),
        threshold=float(np.mean(thresholds)),
        tar_at_far={rate: tar_at(rate, genuine, impostor) for rate in FARS},
        auc=auc,
        eer=equal_error_rate(far, tar),
        num_genuine=len(genuine),
        num_impostor=len(impostor),
        distances_P=distances_P,
        issame_P=issame_P,
        roc_far=far,
        roc_tar=tar,
        roc_distances=at,
        warnings=tuple(_warnings(embeddings_ND, auc)),
    )


def pair_distances(embeddings_ND: np.ndarray) -> np.ndarray:
    """Squared L2 distance (P,) of rows 2p and 2p+1 after each was scaled to length 1; rows of zeros stay zeros."""
    norms_N1 = np.linalg.norm(embeddings_ND, axis=1, keepdims=True)
    unit_ND = embeddings_ND / np.where(norms_N1 == 0, 1, norms_N1)
    return np.sum(np.square(unit_ND[0::2] - unit_ND[1::2]), axis=1)


def fold_scores(distances_P: np.ndarray, issame_P: np.ndarray, folds: int) -> tuple[np.ndarray, np.ndarray]:
    """Accuracy and chosen threshold of each fold; folds are contiguous in file order, as KFold without shuffling.

    One histogram per fold and kind replaces a pass over the pairs for each threshold: a pair is accepted at every
    threshold after the ones that are at most its distance.
    """
    num_pairs, num_bins = len(distances_P), len(THRESHOLDS) + 1
    sizes_F = np.full(folds, num_pairs // folds) + (np.arange(folds) < num_pairs % folds)
    fold_P = np.repeat(np.arange(folds), sizes_F)
    bin_P = np.searchsorted(THRESHOLDS, distances_P, side="right")
    cell_P = (fold_P * 2 + issame_P) * num_bins + bin_P
    counts = np.bincount(cell_P, minlength=folds * 2 * num_bins).reshape(folds, 2, num_bins)
    accepted = np.cumsum(counts, axis=2)[:, :, :-1]
    impostors_F1 = counts[:, 0].sum(axis=1, keepdims=True)
    correct_FT = accepted[:, 1] + impostors_F1 - accepted[:, 0]
    chosen_F = np.argmax(correct_FT.sum(axis=0) - correct_FT, axis=1)  # argmax takes the first of equals
    return correct_FT[np.arange(folds), chosen_F] / sizes_F, THRESHOLDS[chosen_F]


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
    finite_N = np.isfinite(embeddings_ND).all(axis=1)
    if not finite_N.all():
        row = int(np.argmin(finite_N))
        raise InputError(
            f"{int((~finite_N).sum())} of {len(finite_N)} embeddings are NaN or infinite, first that of image {row} "
            f"(pair {row // 2}); the network has diverged or its weights are damaged, so no accuracy can be given"
        )


def _warnings(embeddings_ND: np.ndarray, auc: float) -> list[str]:
    norms_N = np.linalg.norm(embeddings_ND, axis=1)
    found = []
    if zeros := int((norms_N == 0).sum()):
        found.append(f"{zeros} of {len(norms_N)} embeddings are all zeros; the network says nothing about these images")
    unit_ND = embeddings_ND / np.where(norms_N == 0, 1, norms_N)[:, None]
    spread = float(np.sqrt(np.mean(np.square(unit_ND - unit_ND.mean(axis=0)).sum(axis=1))))
    if spread < 1e-3:
        found.append(
            f"all embeddings point in nearly the same direction (spread {spread:.1e}): the network is untrained, "
            "has collapsed, or its input is not normalised as it expects"
        )
    if auc < 0.5:
        found.append(f"AUC {auc:.3f} is worse than guessing: same-person pairs are farther apart than different ones")
    return found
