"""Error rates over all thresholds, of distances: whatever is the smaller the more alike two things are (-cosine, too).

Pure numpy. A pair is accepted up to and including the distance of a point of the ROC.
"""

from __future__ import annotations

import numpy as np

FARS = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6)


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


def tar_at(rate: float, genuine: np.ndarray, impostor_sorted: np.ndarray) -> float | None:
    """Genuine share accepted when at most the share `rate` of impostors is; None with fewer than 1/rate impostors.

    Accepted is what lies strictly below the first impostor distance that would be one false accept too many.
    """
    allowed = int(np.floor(rate * len(impostor_sorted) + 1e-9))
    if allowed < 1:
        return None
    limit = impostor_sorted[allowed] if allowed < len(impostor_sorted) else np.inf
    return float(np.mean(genuine < limit))
