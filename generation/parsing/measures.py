"""How good masks are: intersection over union of each class."""

from __future__ import annotations

import numpy as np


def counts(truth: np.ndarray, found: np.ndarray, n_classes: int) -> np.ndarray:
    """How many pixels of each class (row) were found to be of each (column), int64 (C, C); arrays of one shape."""
    pairs = truth.astype(np.int64).ravel() * n_classes + found.ravel()
    return np.bincount(pairs, minlength=n_classes**2).reshape(n_classes, n_classes)


def intersection_over_union(counts_CC: np.ndarray) -> np.ndarray:
    """Of each class, float64 (C,); NaN for one that neither occurs nor was found."""
    both_C = np.diagonal(counts_CC)
    union_C = counts_CC.sum(0) + counts_CC.sum(1) - both_C
    return np.divide(both_C, union_C, out=np.full(len(counts_CC), np.nan), where=union_C > 0)


def mean_over_present(counts_CC: np.ndarray) -> float:
    """Mean of that over the classes that occur in the truth; NaN where there is no pixel."""
    present_C = counts_CC.sum(1) > 0
    return float(intersection_over_union(counts_CC)[present_C].mean()) if present_C.any() else float("nan")
