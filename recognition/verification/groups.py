"""The figures of parts of a set, all judged at the thresholds of the whole: does a model serve everyone alike?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from recognition.errors import InputError
from recognition.verification.intervals import wilson_interval
from recognition.verification.protocol import VerificationResult

Interval = tuple[float, float]


@dataclass(frozen=True)
class Rates:
    """False match and false non-match rate at one threshold, each with its 95 % interval; None without such pairs."""

    fmr: float | None
    fmr_interval: Interval | None
    fnmr: float | None
    fnmr_interval: Interval | None


@dataclass(frozen=True)
class Group:
    """The pairs of one group: how many are judged rightly at the set's threshold, and the rates at that of each FAR."""

    name: str
    pairs: int
    genuine: int
    impostor: int
    accuracy: float
    accuracy_interval: Interval
    rates: dict[float, Rates]


@dataclass(frozen=True)
class Disparity:
    """How far apart the groups are at one threshold: ratios of 1 mean alike, None where a rate is 0 or absent.

    `max_min_fmr`, `max_min_fnmr`: worst over best group; `max_mean_fmr`: worst over geometric mean (NIST IR 8429).
    """

    max_min_fmr: float | None
    max_mean_fmr: float | None
    max_min_fnmr: float | None


def group_results(result: VerificationResult, groups_P: Sequence[str]) -> list[Group]:
    """The groups by name, each pair of the set in the one that `groups_P` says; intervals are Wilson's.

    InputError unless there is a group for each pair.
    """
    if len(groups_P) != len(result.issame_P):
        raise InputError(f"{len(groups_P)} groups do not fit {len(result.issame_P)} pairs; give one for each, in order")
    of_pair_P = np.asarray(groups_P, dtype=str)
    return [_group(name, result, of_pair_P == name) for name in sorted(set(of_pair_P.tolist()))]


def disparity(groups: Sequence[Group], far: float) -> Disparity:
    """Ratios between the groups at the threshold of a FAR."""
    rates = [group.rates[far] for group in groups if far in group.rates]
    fmr = [rate.fmr for rate in rates if rate.fmr is not None]
    fnmr = [rate.fnmr for rate in rates if rate.fnmr is not None]
    mean = math.exp(sum(map(math.log, fmr)) / len(fmr)) if fmr and min(fmr) > 0 else None
    # The mean of equal rates is theirs but for rounding.
    return Disparity(_ratio(fmr), max(1.0, max(fmr) / mean) if mean else None, _ratio(fnmr))


def _group(name: str, result: VerificationResult, here_P: np.ndarray) -> Group:
    distances, same = result.distances_P[here_P], result.issame_P[here_P]
    right = int(((distances < result.threshold) == same).sum())
    rates = {
        point.far: _rates(distances < point.threshold, same)
        for point in result.operating_points
        if point.threshold is not None
    }
    genuine = int(same.sum())
    interval = wilson_interval(right / len(same), len(same))
    return Group(name, len(same), genuine, len(same) - genuine, right / len(same), interval, rates)


def _rates(accepted: np.ndarray, same: np.ndarray) -> Rates:
    return Rates(*_share(accepted[~same]), *_share(~accepted[same]))


def _share(hits: np.ndarray) -> tuple[float, Interval] | tuple[None, None]:
    return (float(hits.mean()), wilson_interval(float(hits.mean()), len(hits))) if len(hits) else (None, None)


def _ratio(values: Sequence[float]) -> float | None:
    return max(values) / min(values) if values and min(values) > 0 else None
