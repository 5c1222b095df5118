"""Weights are Dirichlet with one that was not seen; people's pairs have the product of their weights."""

import numpy as np
import pytest
from scipy.stats import kstest

from recognition.errors import InputError
from recognition.verification import pair_weights
from recognition.verification.bootstrap import resample_pairs
from recognition.verification.pair_weights import draw_weights
from tests.verification.synthetic import normal_result


def all_weights(issame, people, replicates, seed):
    chunks = list(draw_weights(issame, people, replicates=replicates, seed=seed))
    names = ("pairs_RP", "unseen_genuine_R", "unseen_impostor_R")
    return [np.concatenate([getattr(chunk, name) for chunk in chunks]) for name in names]


def test_weights_of_a_kind_are_dirichlet_with_one_that_was_not_seen():
    issame = np.arange(30) % 3 == 0
    pairs, *unseen = all_weights(issame, None, 2000, 0)
    for of_kind, unseen_R in zip((issame, ~issame), unseen):
        count = of_kind.sum()
        np.testing.assert_allclose(pairs[:, of_kind].sum(axis=1) + unseen_R, 1, rtol=0, atol=1e-12)
        for column in (unseen_R, pairs[:, of_kind][:, 0]):
            assert kstest(column, "beta", (1, count)).pvalue > 1e-3


def test_people_are_weighted_and_a_pair_of_two_has_the_product():
    issame = np.array([1, 1, 1, 0, 0, 0, 0], bool)
    people = [["a", "a"], ["a", "a"], ["b", "b"], ["a", "b"], ["b", "c"], ["c", "a"], ["a", "c"]]
    pairs, unseen_genuine, unseen_impostor = all_weights(issame, people, 500, 1)
    aa, again, bb, ab, bc, ca, ac = pairs.T
    np.testing.assert_array_equal(aa, again)
    np.testing.assert_array_equal(ca, ac)
    np.testing.assert_allclose(ab / bc, (aa / bb) * (ab / ac), rtol=1e-10)  # ab/bc = a/c; ab/ac = b/c; aa/bb = a/b
    # Who was not seen has as many pairs as the others in the mean: 3 of 2 people; 4 pairs of two, of 3 people.
    a, b, _, genuine, impostor = np.random.default_rng(1).standard_exponential((500, 5)).T
    np.testing.assert_allclose(unseen_genuine / aa, genuine * 1.5 / a, rtol=1e-10)
    np.testing.assert_allclose(unseen_impostor / ab, impostor * 8 / 3 / (a * b), rtol=1e-10)


def test_how_many_are_drawn_at_a_time_changes_nothing(monkeypatch):
    result = normal_result(np.random.default_rng(0), 40, 2)
    (expected,) = resample_pairs([result], replicates=50, seed=3)
    monkeypatch.setattr(pair_weights, "CHUNK_BYTES", 8 * 40 * 7)
    assert len(list(draw_weights(result.issame_P, None, replicates=50, seed=3))) == 8
    (found,) = resample_pairs([result], replicates=50, seed=3)
    for metric, values in expected.values.items():
        np.testing.assert_allclose(found.values[metric], values, rtol=0, atol=1e-14)
    np.testing.assert_allclose(found.unseen_genuine_R, expected.unseen_genuine_R, rtol=0, atol=1e-14)


@pytest.mark.parametrize(
    ("people", "message"),
    [
        ([[0, 0], [0, 1]], r"people of shape \(2, 2\) do not fit 4 pairs; give two for each pair"),
        ([0, 0, 1, 1], r"people of shape \(4,\) do not fit 4 pairs"),
        (
            [["ann", "ann"], ["ann", "bob"], ["ann", "eve"], ["bob", "eve"]],
            "pair 2 is flagged as the same person, but shows ann and eve; 1 of 4 pairs contradict",
        ),
        ([[0, 0], [3, 3], [1, 1], [4, 4]], "pair 1 is flagged as different people, but shows 3 and 3; 2 of 4"),
    ],
)
def test_people_that_do_not_fit_are_refused(people, message):
    with pytest.raises(InputError, match=message):
        next(draw_weights(np.array([True, False, True, False]), people, replicates=2, seed=0))
