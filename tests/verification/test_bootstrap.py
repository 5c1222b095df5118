"""Resampled figures are those of the drawn set itself, and their intervals cover the truth as often as they say."""

import numpy as np
import pytest
import scipy.stats

from recognition.errors import InputError
from recognition.verification import bootstrap
from recognition.verification.bootstrap import resample_pairs
from recognition.verification.protocol import verify_pairs
from tests.verification.synthetic import noisy_pairs


def of_result(result, metric):
    name, _, far = metric.partition("@")
    return result.tar_at_far[float(far)] if far else getattr(result, name)


@pytest.mark.parametrize("folds", [10, 7])
def test_figures_of_a_drawn_set_are_those_of_the_set_written_out(monkeypatch, folds):
    emb, issame = noisy_pairs(3, 1.6, 600, 16)
    emb = np.round(emb, 1)  # many equal distances
    result = verify_pairs(emb, issame, folds)
    drawn = []
    monkeypatch.setattr(bootstrap, "_drawn_pairs", recorded(bootstrap._drawn_pairs, drawn))
    (replicates,) = resample_pairs([result], replicates=5)
    assert set(replicates.values) == {"accuracy", "auc", "eer", "tar@0.1", "tar@0.01"}
    for place, weights in enumerate(drawn):
        # A set in which each pair stands as often as it was drawn; the folds keep their sizes, so they fall as before.
        times = np.repeat(np.arange(600), weights.astype(int))
        rows = np.stack([2 * times, 2 * times + 1], axis=1).ravel()
        expected = verify_pairs(emb[rows], issame[times], folds)
        for metric, values in replicates.values.items():
            assert values[place] == pytest.approx(of_result(expected, metric), abs=1e-12), metric


def recorded(make, drawn):
    def wrapped(*args):
        inner = make(*args)
        return lambda draw: drawn.append(inner(draw)) or drawn[-1]

    return wrapped


def test_every_pair_once_gives_the_result_itself():
    result = verify_pairs(*noisy_pairs(1, 1.5))
    figures = bootstrap._Prepared(result).figures(np.ones(600))
    assert {metric: of_result(result, metric) for metric in figures} == pytest.approx(figures, abs=1e-15)


def test_pairs_are_drawn_within_fold_and_kind_each_alike():
    _, issame = noisy_pairs(0, 1.0)
    draw, weights = np.random.default_rng(0), bootstrap._drawn_pairs(issame, 10)
    total = np.zeros(600)
    for _ in range(2000):
        weights_P = weights(draw)
        assert (weights_P.reshape(20, 30).sum(axis=1) == 30).all()
        total += weights_P
    # Each is a sum of 2,000 binomial counts of mean 1 and variance 29/30.
    assert np.abs(total - 2000).max() < 4.5 * np.sqrt(2000)


def test_people_are_drawn_whole():
    subjects = np.array([[0, 0], [0, 0], [1, 1], [0, 1], [7, 1]])
    draw, weights = np.random.default_rng(1), bootstrap._drawn_people(subjects)
    for _ in range(50):
        drawn = weights(draw)
        assert drawn[0] == drawn[1]
        assert drawn[3] == drawn[0] * drawn[2]
        assert drawn[0] + drawn[2] <= 3


def test_with_people_known_intervals_are_wider_where_their_pairs_stand_or_fall_together():
    rng = np.random.default_rng(0)
    people = np.repeat(np.arange(40), 15)
    issame = np.arange(600) % 2 == 0
    hard = rng.random(40)[people] < 0.3
    emb = np.zeros((1200, 2))
    emb[0::2] = [1, 0]
    angle = np.where(issame, np.where(hard, 1.5, 0.3), 1.2) + 0.05 * rng.normal(size=600)
    emb[1::2] = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    result = verify_pairs(emb, issame)
    subjects = np.stack([people, np.where(issame, people, 1000 + np.arange(600))], axis=1)
    (alone,), (together,) = (resample_pairs([result], replicates=300, subjects_P2=s) for s in (None, subjects))
    low, high = together.interval("tar@0.1")
    narrow_low, narrow_high = alone.interval("tar@0.1")
    assert high - low > 2 * (narrow_high - narrow_low)


def test_the_same_seed_gives_the_same_and_another_another():
    result = verify_pairs(*noisy_pairs(2, 1.4))
    one, two, three = (resample_pairs([result], replicates=20, seed=seed)[0].values["auc"] for seed in (5, 5, 6))
    np.testing.assert_array_equal(one, two)
    assert (one != three).any()


def test_models_see_the_same_drawn_sets():
    results = [
        verify_pairs(*noisy_pairs(0, 1.4)),
        verify_pairs(*noisy_pairs(0, 1.4)),
        verify_pairs(*noisy_pairs(0, 1.9)),
    ]
    first, again, other = resample_pairs(results, replicates=30)
    np.testing.assert_array_equal(first.values["eer"], again.values["eer"])
    assert (first.values["eer"] != other.values["eer"]).any()


def test_intervals_are_percentiles_and_absent_where_nothing_can_be_said():
    (replicates,) = resample_pairs([verify_pairs(*noisy_pairs(2, 1.4))], replicates=200)
    ordered = np.sort(replicates.values["auc"])
    low, high = replicates.interval("auc")
    assert ordered[4] <= low <= ordered[5]
    assert ordered[194] <= high <= ordered[195]
    assert replicates.interval("tar@0.001") is None


def test_a_95_percent_interval_covers_the_truth_about_95_times_in_100():
    """Distances of known distribution: the true AUC, EER and TAR are integrals, not estimates."""
    rng = np.random.default_rng(11)
    covered = dict.fromkeys(("auc", "eer", "tar@0.1"), 0)
    truth = {
        "auc": scipy.stats.norm.cdf(1.5 / np.sqrt(2)),
        "eer": scipy.stats.norm.cdf(-0.75),
        "tar@0.1": scipy.stats.norm.cdf(1.5 + scipy.stats.norm.ppf(0.1)),
    }
    trials = 60
    issame = np.arange(600) % 60 < 30
    for _ in range(trials):
        similarity = rng.normal(size=600) + 1.5 * issame
        angle = 1.2 - 0.1 * similarity  # any falling function: all three figures look at the order alone
        emb = np.zeros((1200, 2))
        emb[0::2] = [1, 0]
        emb[1::2] = np.stack([np.cos(angle), np.sin(angle)], axis=1)
        (replicates,) = resample_pairs([verify_pairs(emb, issame)], replicates=150)
        for metric, value in truth.items():
            low, high = replicates.interval(metric)
            covered[metric] += low <= value <= high
    # Of 60 trials at 95 %, 50 or more but for one case in 2,000 (scipy.stats.binom.ppf(0.0005, 60, 0.95) = 50).
    assert all(count >= 50 for count in covered.values()), covered
    assert any(count < trials for count in covered.values()), covered


def test_results_of_different_pairs_are_refused():
    emb, issame = noisy_pairs(0, 1.4)
    results = [verify_pairs(emb, issame), verify_pairs(emb, issame[::-1])]
    with pytest.raises(InputError, match="different sets of pairs"):
        resample_pairs(results, replicates=1)
    with pytest.raises(InputError, match="different sets of pairs"):
        resample_pairs([results[0], verify_pairs(emb, issame, folds=5)], replicates=1)
