"""Distances between two sets of vectors, in float64."""

from __future__ import annotations

import numpy as np

from recognition.errors import InputError


def frechet_distance(a_ND: np.ndarray, b_ND: np.ndarray) -> float:
    """|mean difference|^2 + tr(A + B - 2 (A B)^(1/2)) of the covariances A, B (Heusel et al. 2017, eq. 6).

    The trace of the root is the sum of the roots of the eigenvalues of A^(1/2) B A^(1/2), which is symmetric.
    InputError for fewer than two vectors, which have no covariance. Of fewer than D + 1 vectors it is much too large.
    """
    if min(len(a_ND), len(b_ND)) < 2:
        raise InputError(f"a Fréchet distance needs two pictures or more of each set, not {len(a_ND)} and {len(b_ND)}")
    a_ND, b_ND = np.asarray(a_ND, np.float64), np.asarray(b_ND, np.float64)
    a_DD, b_DD = (np.atleast_2d(np.cov(each, rowvar=False)) for each in (a_ND, b_ND))
    values_D, vectors_DD = np.linalg.eigh(a_DD)
    root_DD = (vectors_DD * np.sqrt(values_D.clip(0))) @ vectors_DD.T
    shared_D = np.linalg.eigvalsh(root_DD @ b_DD @ root_DD).clip(0)
    between = a_ND.mean(0) - b_ND.mean(0)
    return max(0.0, float(between @ between + np.trace(a_DD) + np.trace(b_DD) - 2 * np.sqrt(shared_D).sum()))
