"""Rates of identification: found within a rank (CMC), and found above a threshold that strangers seldom reach (DIR)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from recognition.identification.search import Searched
from recognition.spread import spread
from recognition.verification.curves import operating_points
from recognition.verification.intervals import wilson_interval

RANKS = (1, 5, 10, 20)
LAST_RANK = 50
FPIRS = (0.3, 0.1, 0.03, 0.01, 0.001)
MAX_POINTS = 500
Interval = tuple[float, float]


@dataclass(frozen=True)
class OpenSetPoint:
    """DIR at an FPIR. `threshold`: cosines strictly above it count; `flag`: as of verification's OperatingPoint."""

    fpir: float
    dir: float | None
    low: float | None
    high: float | None
    threshold: float | None
    allowed_false_accepts: int
    flag: str | None


@dataclass(frozen=True)
class Rates:
    """Closed set: shares of mated probes found within ranks 1, 2, ... (`cmc`); open set: DIR at FPIRS; 95 % intervals.

    `missing`: mated probes that were never searched for (no face was found in them); they count as not found.
    """

    mated: int
    nonmated: int
    missing: int
    cmc: tuple[float, ...]
    ranks: dict[int, float]
    rank_intervals: dict[int, Interval]
    mean_average_precision: float | None
    open_set: tuple[OpenSetPoint, ...]
    curve: tuple[np.ndarray, np.ndarray, np.ndarray] | None


def rates_of(searched: Searched, *, missing: int = 0) -> Rates:
    """The rates of all probes (Grother, Ngan, Hanaoka, NIST FRVT part 2; ISO/IEC 19795-1)."""
    mated_Q = searched.mated_Q
    rank_M = searched.rank_Q[mated_Q]
    mated, nonmated = len(rank_M) + missing, int((~mated_Q).sum())
    within = np.bincount(np.minimum(rank_M, LAST_RANK + 1), minlength=LAST_RANK + 2)[1 : LAST_RANK + 1].cumsum()
    cmc = within / mated if mated else np.full(LAST_RANK, np.nan)
    precision = searched.precision_Q[mated_Q].sum() / mated if mated else None
    return Rates(
        mated,
        nonmated,
        missing,
        tuple(cmc.tolist()) if mated else (),
        {rank: float(cmc[rank - 1]) for rank in RANKS} if mated else {},
        {rank: wilson_interval(float(cmc[rank - 1]), mated) for rank in RANKS} if mated else {},
        None if precision is None else float(precision),
        *_open_set(searched, mated, missing),
    )


def _open_set(
    searched: Searched, mated: int, missing: int
) -> tuple[tuple[OpenSetPoint, ...], tuple[np.ndarray, np.ndarray, np.ndarray] | None]:
    mated_Q = searched.mated_Q
    if mated_Q.all() or not mated:
        return (), None
    # A mated probe whose nearest is somebody else is never found, however low the threshold.
    found_M = np.where(searched.rank_Q[mated_Q] == 1, -searched.best_Q[mated_Q].astype(np.float64), np.inf)
    found_M = np.r_[found_M, np.full(missing, np.inf)]
    alarm_N = -searched.best_Q[~mated_Q].astype(np.float64)
    points = []
    for point in operating_points(found_M, alarm_N, FPIRS):
        low, high = (None, None) if point.tar is None else wilson_interval(point.tar, mated)
        threshold = None if point.threshold is None else -point.threshold
        flag = point.flag and point.flag.replace("impostors", "nonmated")
        points.append(OpenSetPoint(point.far, point.tar, low, high, threshold, point.allowed_false_accepts, flag))
    return tuple(points), _curve(found_M, alarm_N)


def _curve(found_M: np.ndarray, alarm_N: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """FPIR, DIR and the cosine strictly above which is accepted, at some of the strangers' cosines."""
    at_N = np.unique(alarm_N)
    at_N = at_N[spread(len(at_N), MAX_POINTS)]
    fpir = np.searchsorted(np.sort(alarm_N), at_N, side="left") / len(alarm_N)
    found = np.searchsorted(np.sort(found_M), at_N, side="left") / len(found_M)
    return fpir, found, -at_N
