"""Models that differ are told from models that chance set apart: exact tests, hand-made sets, seeded trials."""

import numpy as np
import pytest
from scipy.stats import binom, binomtest

from recognition.errors import InputError
from recognition.verification.bootstrap import resample_pairs
from recognition.verification.comparison import (
    BOOTSTRAP,
    BOTH,
    BY_PEOPLE,
    Comparison,
    compare_pairs,
    judged,
    rightly_judged,
)
from recognition.verification.intervals import holm
from tests.verification.synthetic import result_of

ISSAME = np.arange(400) % 2 == 0


def model(seed: int, *, gain: float = 0.0, common: float = 0.0, folds: int = 4):
    """A model with its own noise on the difficulty that all models see in a pair; `gain` moves impostors away."""
    difficulty = np.random.default_rng(99).normal(0, 0.2, 400) * common
    own = np.random.default_rng(seed).normal(0, 0.2, 400) * (1 - common**2) ** 0.5
    return result_of(np.clip(np.where(ISSAME, 1, 1.5 + gain) + difficulty + own, 0, 4), ISSAME, folds)


def bimodal(wrong_genuine: int, wrong_impostor: int = 0):
    """Genuine pairs at 0.5 and impostors at 3, but for the first so many of each: every threshold judges alike."""
    distances = np.where(ISSAME, 0.5, 3.0)
    distances[0 : 2 * wrong_genuine : 2] = 3.2
    distances[1 : 2 * wrong_impostor + 1 : 2] = 0.4
    return result_of(distances, ISSAME, 4)


def compared(*results, replicates=200, seed=0, people=None):
    return compare_pairs(results, resample_pairs(results, replicates=replicates, seed=seed, people_P2=people))


def by_metric(*results, **settings):
    """Of two models."""
    return {entry.metric: entry for entry in compared(*results, **settings)}


def value(result, metric):
    name, _, far = metric.partition("@")
    return result.tar_at_far[float(far)] if far else getattr(result, name)


def test_what_is_rightly_judged_adds_up_to_the_accuracy():
    result = model(1)
    right = rightly_judged(result)
    assert [part.mean() for part in np.split(right, 4)] == pytest.approx(list(result.fold_accuracies), abs=1e-12)
    for pair in (0, 117, 399):
        threshold = result.fold_thresholds[pair // 100]
        assert right[pair] == ((result.distances_P[pair] < threshold) == result.issame_P[pair])


@pytest.mark.parametrize("alone", [1, 2, 5, 8])
def test_a_difference_on_a_few_pairs_has_the_p_value_of_the_sign_test(alone):
    """All in favour of the second: 2 / 2^n, where a plain bootstrap finds hardly a resample without a difference."""
    replicates = 4000
    found = by_metric(bimodal(alone), bimodal(0), replicates=replicates)
    chance = 2.0**-alone
    error = 8 * np.sqrt(chance * (1 - chance) / replicates) + 2 / replicates
    for metric in ("accuracy", "tar@0.1", "auc"):
        assert found[metric].difference < 0
        assert found[metric].p_value == pytest.approx(min(1, 2 * chance), abs=error)
    assert (found["auc"].low < 0 < found["auc"].high) == (alone < 6)


def test_a_model_does_not_differ_from_itself():
    for entry in compared(model(1), model(1), replicates=100):
        assert (entry.difference, entry.low, entry.high, entry.p_value) == (0, 0, 0, 1)
        assert entry.verdict == "no difference"


def test_a_clearly_better_model_is_found_by_every_figure_and_the_other_way_round():
    better, worse = model(1, gain=0.3), model(2)
    found, back = by_metric(better, worse, replicates=400), by_metric(worse, better, replicates=400)
    assert list(found) == ["accuracy", "auc", "eer", "tar@0.1", "tar@0.01"]
    for metric, entry in found.items():
        assert (entry.first, entry.second) == (0, 1)
        assert entry.low <= entry.difference <= entry.high
        assert entry.difference == pytest.approx(value(better, metric) - value(worse, metric), abs=1e-15)
        assert (entry.difference, entry.p_value) == (-back[metric].difference, back[metric].p_value)
        assert entry.method == (BOTH if metric == "accuracy" else BOOTSTRAP)
    for metric in ("accuracy", "auc", "eer", "tar@0.1"):  # four impostors decide the other TAR
        assert found[metric].p_adjusted == found[metric].p_value < 0.05
        assert (found[metric].low > 0, found[metric].high < 0) == ((False, True) if metric == "eer" else (True, False))
        assert found[metric].verdict == "the first is better, hardly by chance"
        assert back[metric].verdict == "the second is better, hardly by chance"


@pytest.mark.parametrize(
    ("metric", "difference", "p_value", "verdict"),
    [
        ("accuracy", 0.02, 0.01, "the first is better, hardly by chance"),
        ("tar@0.001", -0.02, 0.01, "the second is better, hardly by chance"),
        ("eer", 0.02, 0.01, "the second is better, hardly by chance"),
        ("eer", -0.02, 0.01, "the first is better, hardly by chance"),
        ("eer", 0.02, 0.05, "the difference may be chance"),
        ("accuracy", 1e-17, 1.0, "no difference"),
    ],
)
def test_verdicts_in_words(metric, difference, p_value, verdict):
    (entry,) = judged([Comparison(0, 1, metric, difference, -1.0, 1.0, p_value, p_value, "by hand", "")])
    assert entry.verdict == verdict


def test_accuracy_has_to_convince_both_tests():
    """10 pairs against 1: McNemar's p is 0.012 whatever thresholds might have been chosen; the larger one counts."""
    first, second = bimodal(1, 0), bimodal(0, 10)
    right, too = rightly_judged(first), rightly_judged(second)
    assert (int((right & ~too).sum()), int((too & ~right).sum())) == (10, 1)
    exact = binomtest(1, 11).pvalue
    entry = by_metric(first, second, replicates=2000)["accuracy"]
    assert entry.p_value >= exact * (1 - 1e-9)
    # The bootstrap by itself, on models whose thresholds wander: larger in some, in others McNemar's is.
    larger = {"McNemar": 0, "bootstrap": 0}
    for seed in range(12):
        one, other = model(seed), model(seed + 50)
        right, too = rightly_judged(one), rightly_judged(other)
        only, alone = int((right & ~too).sum()), int((too & ~right).sum())
        exact = binomtest(only, only + alone).pvalue
        p_value = by_metric(one, other, replicates=60)["accuracy"].p_value
        assert p_value >= exact * (1 - 1e-9)
        larger["McNemar" if p_value == pytest.approx(exact, rel=1e-9) else "bootstrap"] += 1
    assert min(larger.values()) > 0, larger


def test_people_instead_of_pairs_decide_when_they_are_known():
    """All that tells the models apart are 12 pairs of one person."""
    people = np.arange(400)[:, None] // 2 + np.array([[0, 0]])
    people[1::2, 1] += 200
    people[0:24:2] = 0
    first, second = bimodal(0), bimodal(12)
    assert by_metric(first, second, replicates=400)["accuracy"].verdict == "the first is better, hardly by chance"
    found = by_metric(first, second, replicates=400, people=people)
    assert {entry.method for entry in found.values()} == {BY_PEOPLE}
    assert found["accuracy"].verdict == "the difference may be chance"


def test_models_that_err_on_the_same_pairs_are_told_apart_more_finely_than_each_is_known():
    first, second = model(1, common=0.99), model(2, common=0.99)
    found = by_metric(first, second, replicates=300)["auc"]
    low, high = resample_pairs([first], replicates=300)[0].interval("auc")
    assert found.high - found.low < 0.5 * (high - low)


def test_equal_models_are_rarely_called_different():
    """5 % of the time or less, more than which chance would show in 1 of 1000 such tests."""
    trials, called = 80, {}
    for trial in range(trials):
        models = [model(seed + trial, common=0.7, folds=2) for seed in (1000, 5000)]
        for entry in compared(*models, replicates=100, seed=trial):
            called[entry.metric] = called.get(entry.metric, 0) + (entry.p_value < 0.05)
    assert max(called.values()) <= binom.ppf(0.999, trials, 0.05), called


def test_with_more_models_the_same_difference_has_to_be_clearer():
    results = [model(1), model(2), model(3, gain=0.12)]
    found = compared(*results)
    couples = ((0, 1), (0, 2), (1, 2))
    raw = {couple: by_metric(*(results[place] for place in couple)) for couple in couples}
    for metric in raw[0, 1]:
        entries = [entry for entry in found if entry.metric == metric]
        assert [(entry.first, entry.second) for entry in entries] == list(couples)
        assert [entry.p_value for entry in entries] == [raw[couple][metric].p_value for couple in couples]
        assert [entry.p_adjusted for entry in entries] == holm([entry.p_value for entry in entries])
        assert [entry.low for entry in entries] == [raw[couple][metric].low for couple in couples]
    assert compared(results[0]) == []


def test_models_of_other_pairs_are_refused():
    first = model(1)
    swapped = result_of(first.distances_P, ~ISSAME, 4)
    drawn = resample_pairs([first, first], replicates=2)
    with pytest.raises(InputError, match="different sets of pairs"):
        compare_pairs([first, swapped], drawn)
