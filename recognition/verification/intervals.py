"""How sure a share is that was counted in few or many trials."""

from __future__ import annotations

import math
from collections.abc import Sequence

Z = 1.959963984540054  # of a 95 % interval


def wilson_interval(share: float, trials: float, *, z: float = Z) -> tuple[float, float]:
    """95 % interval of a share of independent trials (Wilson 1927, eq. 4); it never leaves [0, 1], nor is it empty."""
    middle = share + z * z / (2 * trials)
    reach = z * math.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials))
    return max((middle - reach) / (1 + z * z / trials), 0.0), min((middle + reach) / (1 + z * z / trials), 1.0)


def mcnemar_p(first_only: int, second_only: int) -> float:
    """How likely chance alone shares out so unevenly what just one of two models got right: exact, two-sided.

    Of n = first_only + second_only such cases each falls to either with probability 1/2 (McNemar 1947; the exact
    binomial tail, doubled).
    """
    cases, fewer = first_only + second_only, min(first_only, second_only)
    tail = sum(math.comb(cases, count) for count in range(fewer + 1))
    # Whole numbers until the end: 2^-n of a thousand cases is no float.
    return min(2 * tail / (1 << cases), 1.0)


def holm(p_values: Sequence[float]) -> list[float]:
    """The p-values of several tests, raised so that one in 20 families, not tests, errs at 0.05 (Holm 1979)."""
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    adjusted, so_far = [0.0] * len(p_values), 0.0
    for place, test in enumerate(order):
        so_far = max(so_far, min((len(order) - place) * p_values[test], 1.0))
        adjusted[test] = so_far
    return adjusted
