"""Error rates of counted cosines equal those of a list of cosines; intervals know that a person's pairs go together."""

import itertools

import numpy as np
import pytest
import scipy.stats

from recognition.identification.all_to_all import STEPS, count_cosines
from recognition.identification.counted import (
    FARS,
    People,
    cosine_of,
    people_accepted,
    roc_of_counts,
    share_difference,
    threshold_bins,
)
from recognition.runtime import Runtime
from recognition.verification.curves import area_under, equal_error_rate, operating_points, roc_curve
from tests.identification.test_all_to_all import by_hand, signs
from tests.ranks import run_ranks


@pytest.fixture(scope="module")
def counted():
    rows, labels = signs(160, people=20, seed=8)
    _, (genuine, impostor) = by_hand(rows, labels)
    counts = count_cosines(rows, labels, runtime=Runtime(), block_rows=50)
    return counts, rows, labels, *(np.array([cosine for cosine, _, _ in pairs]) for pairs in (genuine, impostor))


def test_the_roc_is_that_of_the_list(counted):
    counts, _, _, genuine, impostor = counted
    distances = 2 - 2 * np.rint(np.r_[genuine, impostor] * STEPS) / STEPS
    expected = roc_curve(distances, np.arange(len(distances)) < len(genuine))
    found = roc_of_counts(counts)
    for one, other in zip(found, expected):
        np.testing.assert_array_equal(one, other)
    assert area_under(*found[:2]) == pytest.approx(np.mean(np.sign(genuine[:, None] - impostor) + 1) / 2, abs=1e-12)
    assert 0 < equal_error_rate(*found[:2]) < 0.5


def test_tar_at_far_is_that_of_the_list(counted):
    counts, _, _, genuine, impostor = counted
    bins = threshold_bins(counts, FARS)
    assert [limit is None for limit in bins] == [far < 1e-4 for far in FARS]  # there are about 12,000 impostors
    points = operating_points(-genuine, -impostor, FARS)
    for far, limit, expected in zip(FARS, bins, [point.tar for point in points]):
        if limit is None:
            assert expected is None
            continue
        assert (genuine > cosine_of(limit)).mean() == pytest.approx(expected, abs=1e-15)
        assert (impostor > cosine_of(limit)).sum() <= far * len(impostor)
        assert (impostor >= cosine_of(limit)).sum() > far * len(impostor)  # a lower threshold lets too many in


def accepted_on_rank(runtime, rows, labels, bins):
    return people_accepted(rows, labels, bins, runtime=runtime)


@pytest.mark.parametrize("world", [1, 3])
def test_each_persons_pairs_are_counted(counted, world):
    counts, rows, labels, _, _ = counted
    bins = threshold_bins(counts, (0.1, 0.01, 1e-9))
    _, (genuine, _) = by_hand(rows, labels)
    people = sorted(set(labels.tolist()))
    pairs, accepted = np.zeros(len(people), int), np.zeros((len(people), 3), int)
    for cosine, first, _ in genuine:
        person = people.index(labels[first])
        pairs[person] += 1
        accepted[person] += [limit is not None and cosine > cosine_of(limit) for limit in bins]
    results = (
        [accepted_on_rank(Runtime(), rows, labels, bins)]
        if world == 1
        else run_ranks(accepted_on_rank, world, rows, labels, bins)
    )
    for found in results:
        np.testing.assert_array_equal(found.pairs_C, pairs)
        np.testing.assert_array_equal(found.accepted_CF, accepted)
    assert accepted[:, 0].sum() == counts.genuine_K[bins[0] + 1 :].sum()


def test_a_person_with_more_pictures_than_a_block_is_counted_whole(monkeypatch, counted):
    counts, rows, labels, _, _ = counted
    bins = threshold_bins(counts, (0.1,))
    whole = people_accepted(rows, labels, bins, runtime=Runtime())
    monkeypatch.setattr("recognition.identification.counted.BLOCK_ROWS", 3)
    np.testing.assert_array_equal(people_accepted(rows, labels, bins, runtime=Runtime()).accepted_CF, whole.accepted_CF)


def test_pairs_of_one_person_are_worth_fewer_independent_ones():
    rng = np.random.default_rng(0)
    pairs = np.full(400, 10)
    alone = People(pairs, rng.binomial(10, 0.7, 400)[:, None])
    together = People(pairs, (10 * rng.binomial(1, 0.7, 400))[:, None])
    assert 3500 < alone.effective_pairs(0) < 4600
    assert 350 < together.effective_pairs(0) < 450


def test_the_variance_is_that_of_resampled_people():
    rng = np.random.default_rng(1)
    pairs = rng.integers(1, 40, 300)
    accepted = rng.binomial(pairs, rng.beta(4, 2, 300))
    share = accepted.sum() / pairs.sum()
    drawn = rng.integers(0, 300, (4000, 300))
    spread = (accepted[drawn].sum(axis=1) / pairs[drawn].sum(axis=1)).std()
    effective = People(pairs, accepted[:, None]).effective_pairs(0)
    # The standard error of a deviation of 4,000 values is 1.1 %.
    assert np.sqrt(share * (1 - share) / effective) == pytest.approx(spread, rel=0.05)


@pytest.mark.parametrize(("accepted", "effective"), [([4, 9], 2), ([0, 0], 2), ([0, 9], None)])
def test_where_nothing_varies_only_people_count(accepted, effective):
    people = People(np.array([4, 9, 0]), np.array([*accepted, 0])[:, None])
    found = people.effective_pairs(0)
    assert found == effective if effective else 0 < found < 3


def test_a_few_people_with_a_pair_each_are_worth_one_less():
    """The variance of a mean is estimated with n - 1."""
    assert People(np.ones(5, int), np.array([[1], [1], [0], [1], [0]])).effective_pairs(0) == pytest.approx(4)


def test_people_without_pairs_change_nothing():
    pairs, one, other = np.array([4, 9, 2, 5]), np.array([[1], [7], [2], [0]]), np.array([[0], [8], [0], [0]])
    with_more = [np.r_[counts, np.zeros_like(counts[:1])] for counts in (pairs, one, other)]
    for found, expected in (
        (People(with_more[0], with_more[1]).effective_pairs(0), People(pairs, one).effective_pairs(0)),
        (
            share_difference(People(with_more[0], with_more[1]), People(with_more[0], with_more[2]), 0),
            share_difference(People(pairs, one), People(pairs, other), 0),
        ),
    ):
        assert found == expected


def test_of_one_person_no_difference_can_be_told():
    assert share_difference(People(np.array([4]), np.array([[3]])), People(np.array([4]), np.array([[1]])), 0) == (
        0.5,
        0.5,
        0.5,
        1.0,
    )


def test_the_difference_between_models_is_that_of_resampled_people():
    rng = np.random.default_rng(2)
    pairs = rng.integers(1, 30, 300)
    ease = rng.beta(4, 2, 300)
    one, other = (rng.binomial(pairs, np.clip(ease + gain, 0, 1)) for gain in (0.03, 0.0))
    found = share_difference(People(pairs, one[:, None]), People(pairs, other[:, None]), 0)
    drawn = rng.integers(0, 300, (4000, 300))
    shares = (one[drawn] - other[drawn]).sum(axis=1) / pairs[drawn].sum(axis=1)
    assert found.difference == pytest.approx((one - other).sum() / pairs.sum(), abs=1e-15)
    assert (found.high - found.low) / (2 * 1.96) == pytest.approx(shares.std(), rel=0.05)
    assert (found.low + found.high) / 2 == pytest.approx(found.difference, abs=1e-15)
    assert found.p_value == pytest.approx(2 * scipy.stats.norm.sf(found.difference / shares.std()), rel=0.5)
    back = share_difference(People(pairs, other[:, None]), People(pairs, one[:, None]), 0)
    assert (back.difference, back.low, back.p_value) == (-found.difference, -found.high, found.p_value)


@pytest.mark.parametrize("between", [[1, 1], [2, 2, 2, 0], [1, 1, 1, 1, 1, 0, 0, 0], [3, 0, 0, 0, 0]])
def test_a_handful_of_people_prove_nothing(between):
    """No difference is less likely than its sign is under all ways to swap the models, person by person."""
    between, pairs = np.array(between), np.full(len(between), 3)
    one, other = People(pairs, between[:, None]), People(pairs, np.zeros((len(pairs), 1), int))
    swaps = np.array(list(itertools.product((-1, 1), repeat=len(between)))) @ between
    exact = np.mean(np.abs(swaps) >= between.sum())
    assert share_difference(one, other, 0).p_value >= exact > 0.05


def test_equal_models_do_not_differ_and_chance_is_uniform():
    rng = np.random.default_rng(3)
    pairs = np.full(200, 8)
    same = People(pairs, rng.binomial(8, 0.8, (200, 1)))
    assert share_difference(same, same, 0) == (0, 0, 0, 1)
    p_values = []
    for _ in range(400):
        one, other = (People(pairs, rng.binomial(8, 0.8, (200, 1))) for _ in range(2))
        p_values.append(share_difference(one, other, 0).p_value)
    # 400 draws of a fair 5 %: 20 expected, 3 standard deviations either way.
    assert 7 <= sum(p < 0.05 for p in p_values) <= 33
