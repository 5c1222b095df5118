"""Means over people, each of whom counts once, with what they may well have been with others."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from recognition.errors import InputError

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Interval:
    """A mean over people with the interval of Student's t at CONFIDENCE; NaN ends where there is one person only."""

    mean: float
    low: float
    high: float


def interval(values_P: np.ndarray) -> Interval:
    """Of one value for each person. InputError where scipy is missing."""
    try:
        from scipy import stats
    except ImportError as error:
        raise InputError("intervals need scipy: pip install -e '.[generation]'") from error
    mean = float(values_P.mean())
    if len(values_P) < 2:
        return Interval(mean, float("nan"), float("nan"))
    half = float(stats.t.ppf((1 + CONFIDENCE) / 2, len(values_P) - 1) * stats.sem(values_P))
    return Interval(mean, mean - half, mean + half)


def paired_p(before_N: np.ndarray, after_N: np.ndarray) -> float:
    """How likely the same pictures, bool (N,), change sides so unevenly by chance: McNemar's test, exact and two-sided.

    1 where none changes. InputError where scipy is missing.
    """
    try:
        from scipy import stats
    except ImportError as error:
        raise InputError("tests of significance need scipy: pip install -e '.[generation]'") from error
    gained, lost = int((after_N & ~before_N).sum()), int((before_N & ~after_N).sum())
    return float(stats.binomtest(gained, gained + lost).pvalue) if gained + lost else 1.0


def per_person(values_N: np.ndarray, people: np.ndarray) -> np.ndarray:
    """The mean of each person's values, in the order of their names; `people` (N,) says whose each is."""
    _, of_N = np.unique(people, return_inverse=True)
    return np.bincount(of_N, values_N) / np.bincount(of_N)
