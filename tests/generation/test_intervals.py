"""Paired comparisons against counting by hand."""

import numpy as np
import pytest

from generation.intervals import paired_p


def sides(both, gained, lost, neither):
    before = [True] * both + [False] * gained + [True] * lost + [False] * neither
    after = [True] * both + [True] * gained + [False] * lost + [False] * neither
    return np.array(before, bool), np.array(after, bool)


@pytest.mark.parametrize(
    ("gained", "lost", "wanted"),
    [(5, 0, 2 / 2**5), (0, 5, 2 / 2**5), (3, 1, 2 * (1 + 4) / 2**4), (2, 2, 1), (0, 0, 1)],
)
def test_as_tosses_of_a_coin(gained, lost, wanted):
    """Those that stay on their side, however many, say nothing."""
    for both, neither in ((0, 0), (100, 7)):
        if both + gained + lost + neither:
            assert paired_p(*sides(both, gained, lost, neither)) == pytest.approx(wanted)
