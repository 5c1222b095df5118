"""How sure a share is that was counted in few or many trials."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

Z = 1.959963984540054  # of a 95 % interval
EXACT_CASES = 1000
DRAWS = 10_000


def wilson_interval(share: float, trials: float, *, z: float = Z) -> tuple[float, float]:
    """95 % interval of a share of independent trials (Wilson 1927, eq. 4); it never leaves [0, 1], nor is it empty."""
    middle = share + z * z / (2 * trials)
    reach = z * math.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials))
    low, high = (middle - reach) / (1 + z * z / trials), (middle + reach) / (1 + z * z / trials)
    # The ends are exact where the share is 0 or 1; rounding must not move them.
    return 0.0 if share <= 0 else max(low, 0.0), 1.0 if share >= 1 else min(high, 1.0)


def difference_interval(first_only: int, second_only: int, cases: int) -> tuple[float, float]:
    """95 % interval of the share that the first of two models has right less the second's, of the same `cases`.

    The three shares (the first alone, the second alone, both or neither) are Dirichlet by the Bayesian bootstrap (Rubin
    1981), with one case more that was not seen: for the low end the second alone has it right, for the high end the
    first. Percentiles of DRAWS draws, always the same ones.
    """
    rng = np.random.default_rng(0)
    alike = cases - first_only - second_only
    ends = []
    for first, second, tail in ((first_only, second_only + 1, 0.025), (first_only + 1, second_only, 0.975)):
        for_R, against_R, rest_R = (rng.standard_gamma(count, DRAWS) for count in (first, second, alike))
        differences_R = (for_R - against_R) / (for_R + against_R + rest_R)
        ends.append(float(np.quantile(differences_R, tail, method="inverted_cdf")))
    return ends[0], ends[1]


def mcnemar_p(first_only: int, second_only: int) -> float:
    """How likely chance alone shares out so unevenly what just one of two models got right: exact, two-sided.

    Of n = first_only + second_only such cases each falls to either with probability 1/2 (McNemar 1947; the exact
    binomial tail, doubled).
    """
    cases, fewer = first_only + second_only, min(first_only, second_only)
    if cases <= EXACT_CASES:
        tail = sum(math.comb(cases, count) for count in range(fewer + 1)) / (1 << cases)
        return min(2 * tail, 1.0)
    # From the largest term down, each from the one before: so many whole numbers of so many digits take minutes.
    term = math.exp(
        math.lgamma(cases + 1) - math.lgamma(fewer + 1) - math.lgamma(cases - fewer + 1) - cases * math.log(2)
    )
    tail, count = 0.0, fewer
    while count >= 0 and term > tail * 1e-17:
        tail += term
        term *= count / (cases - count + 1)
        count -= 1
    return min(2 * tail, 1.0)


def holm(p_values: Sequence[float]) -> list[float]:
    """The p-values of several tests, raised so that one in 20 families, not tests, errs at 0.05 (Holm 1979)."""
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    adjusted, so_far = [0.0] * len(p_values), 0.0
    for place, test in enumerate(order):
        so_far = max(so_far, min((len(order) - place) * p_values[test], 1.0))
        adjusted[test] = so_far
    return adjusted
