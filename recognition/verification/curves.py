"""Error rates over all thresholds, of distances: whatever is the smaller the more alike two things are (-cosine, too).

Pure numpy. A pair is accepted up to and including the distance of a point of the ROC.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

FARS = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6)
FEW = 10


def roc_curve(distances_P: np.ndarray, issame_P: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """False accept rate, true accept rate and distance at every distinct distance, nearest first."""
    at, index = np.unique(distances_P, return_inverse=True)
    genuine = np.bincount(index[issame_P], minlength=len(at)).cumsum()
    impostor = np.bincount(index[~issame_P], minlength=len(at)).cumsum()
    far, tar = impostor / impostor[-1], genuine / genuine[-1]
    return np.r_[0.0, far], np.r_[0.0, tar], np.r_[-np.inf, at]


def area_under(far: np.ndarray, tar: np.ndarray) -> float:
    """Area under the ROC by trapezoids: the probability that a genuine pair is nearer than an impostor, ties half."""
    return float(np.sum(np.diff(far) * (tar[1:] + tar[:-1]) / 2))


def equal_error_rate(far: np.ndarray, tar: np.ndarray) -> float:
    """Where FAR equals 1 - TAR on the ROC drawn with straight lines."""
    excess = far + tar - 1  # rises from -1 to 1
    after = int(np.argmax(excess >= 0))
    share = -excess[after - 1] / (excess[after] - excess[after - 1])
    return float(far[after - 1] + share * (far[after] - far[after - 1]))


@dataclass(frozen=True)
class OperatingPoint:
    """A false accept rate that is allowed, and what follows from it.

    `threshold`: pairs strictly nearer are accepted; `allowed_false_accepts`: impostor pairs that may be. Where that is
    less than 1 there is no `tar` and no `threshold`, and `flag` is "too_few_impostors"; below 10 it is "few_impostors":
    then a handful of pairs decides.
    """

    far: float
    tar: float | None
    threshold: float | None
    allowed_false_accepts: int
    flag: str | None


def operating_points(
    genuine: np.ndarray, impostor: np.ndarray, fars: Sequence[float] = FARS
) -> tuple[OperatingPoint, ...]:
    """The point of each FAR for the distances of genuine and of impostor pairs."""
    impostor_sorted, points = np.sort(impostor), []
    for far in fars:
        allowed = allowed_false_accepts(far, len(impostor))
        tar = threshold = None
        if allowed:
            threshold = float(impostor_sorted[allowed]) if allowed < len(impostor) else np.inf
            tar = float(np.mean(genuine < threshold))
        points.append(OperatingPoint(far, tar, threshold, allowed, flag_of(allowed)))
    return tuple(points)


def allowed_false_accepts(far: float, num_impostor: float) -> int:
    """How many of the impostor pairs may be accepted."""
    return int(np.floor(far * num_impostor + 1e-9))


def flag_of(allowed: int) -> str | None:
    """What is to be said of a figure that so many false accepts decide."""
    return None if allowed >= FEW else "few_impostors" if allowed else "too_few_impostors"
