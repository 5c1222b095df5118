"""TAR at the point of the ROC whose FAR is nearest to the one wanted: how published IJB figures are read off."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def tar_at_nearest_far(
    far: np.ndarray, tar: np.ndarray, num_impostor: int, num_genuine: int, wanted: Sequence[float]
) -> dict[float, float]:
    """TAR where |FAR - wanted| is least, of equals the one with the largest FAR, of these the largest TAR.

    `far`, `tar`: a whole ROC from (0, 0), as curves.roc_curve gives it. As InsightFace's eval_ijbc.py has it from
    scikit-learn's roc_curve, which leaves out points on a straight line between their neighbours. The FAR found may lie
    above the one that is wanted, so these figures flatter; operating points do not.
    """
    impostors, genuines = np.rint(far[1:] * num_impostor), np.rint(tar[1:] * num_genuine)
    corner = np.r_[True, (np.diff(impostors, 2) != 0) | (np.diff(genuines, 2) != 0), True][: len(impostors)]
    kept_far, kept_tar = np.r_[far[0], far[1:][corner]][::-1], np.r_[tar[0], tar[1:][corner]][::-1]
    return {rate: float(kept_tar[np.argmin(np.abs(kept_far - rate))]) for rate in wanted}
