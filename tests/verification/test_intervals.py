"""Intervals and tests against scipy, and what a defining equation says."""

import itertools

import numpy as np
import pytest
import scipy.stats

from recognition.verification.intervals import Z, difference_interval, holm, mcnemar_p, wilson_interval


@pytest.mark.parametrize(("hits", "trials"), [(0, 1), (0, 30), (1, 30), (29, 30), (30, 30), (2990, 3000), (7, 100_000)])
def test_wilson_is_scipys(hits, trials):
    expected = scipy.stats.binomtest(hits, trials).proportion_ci(method="wilson")
    assert wilson_interval(hits / trials, trials) == pytest.approx((expected.low, expected.high), rel=1e-12, abs=1e-15)


def test_wilson_takes_trials_that_are_no_whole_number():
    low, high = wilson_interval(0.7, 12.5)
    for end in (low, high):  # where the share is just Z standard errors of the end away from it
        assert abs(0.7 - end) == pytest.approx(Z * np.sqrt(end * (1 - end) / 12.5), rel=1e-12)


def test_ends_of_a_certain_share_are_exact():
    for trials in range(1, 300):  # with some of them the formula is a rounding away
        assert wilson_interval(0.0, trials)[0] == 0.0
        assert wilson_interval(1.0, trials)[1] == 1.0


def test_a_difference_in_favour_of_one_model_alone_has_the_ends_of_clopper_and_pearson():
    """With n of N in favour of the first and none of the second it is a share, but for the pair that was not seen."""
    for alone, cases in ((3, 20), (12, 200), (200, 200)):
        low, high = difference_interval(alone, 0, cases)
        exact = scipy.stats.binomtest(alone, cases).proportion_ci(method="exact")
        error = 4 * 0.16 / np.sqrt(10_000)  # of a tail's probability, as so many draws show it
        assert scipy.stats.beta.cdf(high, alone + 1, cases - alone) == pytest.approx(0.975, abs=error) or high == 1
        assert low < exact.low
        assert difference_interval(0, alone, cases) == pytest.approx((-high, -low), abs=0.01)


def test_ends_of_a_difference_have_the_tails_that_integration_gives():
    """P(first's share - second's <= end) of a Dirichlet, integrated over the share of those that differ (Beta)."""
    first, second, cases = 30, 18, 400
    for end, tail, one, two in zip(difference_interval(first, second, cases), (0.025, 0.975), (30, 31), (19, 18)):
        differing = scipy.stats.beta(one + two, cases - first - second)
        shares = (np.arange(4000) + 0.5) / 4000
        at = differing.ppf(shares)  # first's part x of a differing share s: s (2 x - 1) <= end
        found = scipy.stats.beta(one, two).cdf((end / at + 1) / 2).mean()
        assert found == pytest.approx(tail, abs=4 * np.sqrt(0.025 * 0.975 / 10_000))


def test_models_that_are_right_on_the_same_few_cases_need_not_be_alike():
    low, high = difference_interval(0, 0, 30)
    limit = 1 - 0.025 ** (1 / 30)  # the rule of three
    assert (low, high) == pytest.approx((-limit, limit), rel=0.05)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        *[(0, 0), (0, 1), (3, 3), (5, 2), (2, 5), (0, 9), (40, 70), (490, 510), (500, 501), (900, 1400)],
        *[(30_000, 30_500), (30_500, 30_500), (0, 2000), (400_000, 401_000)],
    ],
)
def test_mcnemar_is_the_two_sided_binomial_test(one, other):
    expected = scipy.stats.binomtest(one, one + other).pvalue if one + other else 1.0
    assert mcnemar_p(one, other) == pytest.approx(expected, rel=1e-8)


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
