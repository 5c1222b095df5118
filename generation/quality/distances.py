"""Distances between two sets of vectors, in float64."""

from __future__ import annotations

import numpy as np

from recognition.errors import InputError

ROWS = 1024  # of a kernel matrix at a time


def frechet_distance(a_ND: np.ndarray, b_ND: np.ndarray) -> float:
    """|mean difference|^2 + tr(A + B - 2 (A B)^(1/2)) of the covariances A, B (Heusel et al. 2017, eq. 6).

    With A = X'X and B = Y'Y the trace of the root is the sum of the singular values of XY', which is as small as the
    sets are, and exact where A and B have no full rank. InputError for fewer than two vectors, which have no
    covariance. Of fewer than D + 1 vectors the distance is much too large.
    """
    if min(len(a_ND), len(b_ND)) < 2:
        raise InputError(f"a Fréchet distance needs two pictures or more of each set, not {len(a_ND)} and {len(b_ND)}")
    a_ND, b_ND = np.asarray(a_ND, np.float64), np.asarray(b_ND, np.float64)
    between_D = a_ND.mean(0) - b_ND.mean(0)
    x_MD, y_MD = (_root_of_covariance(each) for each in (a_ND, b_ND))
    shared = float(np.linalg.svd(x_MD @ y_MD.T, compute_uv=False).sum())
    return max(0.0, float(between_D @ between_D + (x_MD**2).sum() + (y_MD**2).sum() - 2 * shared))


def kernel_distance(a_ND: np.ndarray, b_ND: np.ndarray) -> float:
    """The squared maximum mean discrepancy of two sets, without bias, by the kernel (x.y / D + 1)^3.

    Bińkowski et al. 2018, eq. 4 and section 4.2, of all vectors at once rather than of random parts: 0 on average for
    sets of one kind, however small they are, and below it as often as above. InputError for fewer than two vectors.
    """
    if min(len(a_ND), len(b_ND)) < 2:
        raise InputError(f"a kernel distance needs two pictures or more of each set, not {len(a_ND)} and {len(b_ND)}")
    a_ND, b_ND = np.asarray(a_ND, np.float64), np.asarray(b_ND, np.float64)
    within = sum(_kernel_sum(each, each, same=True) / (len(each) * (len(each) - 1)) for each in (a_ND, b_ND))
    return within - 2 * _kernel_sum(a_ND, b_ND) / (len(a_ND) * len(b_ND))


def inception_score(logits_NC: np.ndarray) -> float:
    """exp of the mean KL divergence of p(y|x) from p(y) (Salimans et al. 2016, eq. 1), of all pictures at once.

    1 where all pictures are seen as the same; the number of classes at most. InputError where there is no picture.
    """
    if not len(logits_NC):
        raise InputError("an Inception Score needs one picture or more")
    logits_NC = np.asarray(logits_NC, np.float64)
    shifted_NC = logits_NC - logits_NC.max(1, keepdims=True)
    log_p_NC = shifted_NC - np.log(np.exp(shifted_NC).sum(1, keepdims=True))
    p_NC = np.exp(log_p_NC)
    mean_C = p_NC.mean(0)
    # A class that nobody is seen as adds nothing to either part.
    return float(np.exp((p_NC * log_p_NC).sum(1).mean() - (mean_C * np.log(mean_C.clip(np.finfo(float).tiny))).sum()))


def _root_of_covariance(vectors_ND: np.ndarray) -> np.ndarray:
    """X (M, D) with X'X the covariance, M the lesser of N and D."""
    x_ND = (vectors_ND - vectors_ND.mean(0)) / (len(vectors_ND) - 1) ** 0.5
    return np.linalg.qr(x_ND, "r") if len(x_ND) > x_ND.shape[1] else x_ND


def _kernel_sum(a_ND: np.ndarray, b_ND: np.ndarray, *, same: bool = False) -> float:
    """The sum of the kernel over all pairs, `same`: without those of a vector with itself; some rows at a time."""
    total = 0.0
    for start in range(0, len(a_ND), ROWS):
        kernel = (a_ND[start : start + ROWS] @ b_ND.T / a_ND.shape[1] + 1) ** 3
        total += float(kernel.sum())
    return total - float((((a_ND**2).sum(1) / a_ND.shape[1] + 1) ** 3).sum()) if same else total
