"""Intervals and tests against scipy, and what a defining equation says."""

import itertools

import numpy as np
import pytest
import scipy.stats

from recognition.verification.intervals import Z, holm, mcnemar_p, wilson_interval


@pytest.mark.parametrize(("hits", "trials"), [(0, 1), (0, 30), (1, 30), (29, 30), (30, 30), (2990, 3000), (7, 100_000)])
def test_wilson_is_scipys(hits, trials):
    expected = scipy.stats.binomtest(hits, trials).proportion_ci(method="wilson")
    assert wilson_interval(hits / trials, trials) == pytest.approx((expected.low, expected.high), rel=1e-12, abs=1e-15)


def test_wilson_takes_trials_that_are_no_whole_number():
    low, high = wilson_interval(0.7, 12.5)
    for end in (low, high):  # where the share is just Z standard errors of the end away from it
        assert abs(0.7 - end) == pytest.approx(Z * np.sqrt(end * (1 - end) / 12.5), rel=1e-12)


@pytest.mark.parametrize(("one", "other"), [(0, 0), (0, 1), (3, 3), (5, 2), (2, 5), (0, 9), (40, 70), (900, 1400)])
def test_mcnemar_is_the_two_sided_binomial_test(one, other):
    expected = scipy.stats.binomtest(one, one + other).pvalue if one + other else 1.0
    assert mcnemar_p(one, other) == pytest.approx(expected, rel=1e-9)


def test_mcnemar_counts_every_way_to_share_out_a_few_cases():
    for one, other in itertools.product(range(5), repeat=2):
        ways = [sum(way) for way in itertools.product((0, 1), repeat=one + other)]
        as_uneven = sum(abs(2 * way - one - other) >= abs(one - other) for way in ways)
        assert mcnemar_p(one, other) == pytest.approx(as_uneven / len(ways))


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.5]) == pytest.approx([0.04, 0.09, 0.09, 0.5])
    assert holm([0.9, 0.02]) == pytest.approx([0.9, 0.04])
    assert holm([0.3, 0.4, 0.2]) == pytest.approx([0.6, 0.6, 0.6])
    assert holm([]) == []
