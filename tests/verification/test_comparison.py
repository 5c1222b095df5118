"""Differences between models: real ones are found, chance is not taken for one; the tests are those of the books."""

import numpy as np
import pytest
import scipy.stats

from recognition.verification.bootstrap import resample_pairs
from recognition.verification.comparison import BOOTSTRAP, MCNEMAR, compare_pairs, rightly_judged
from recognition.verification.protocol import verify_pairs
from tests.verification.synthetic import noisy_pairs


def blurred(seed, noise):
    """The same people and pairs, seen by a model with noise of its own."""
    emb, issame = noisy_pairs(0, 0.9)
    rng = np.random.default_rng(seed)
    return verify_pairs(emb + noise * rng.normal(size=emb.shape) / np.sqrt(emb.shape[1]), issame)


def compared(*results, replicates=200):
    return compare_pairs(results, resample_pairs(results, replicates=replicates))


def test_what_is_rightly_judged_adds_up_to_the_accuracy():
    result = blurred(1, 1.0)
    right = rightly_judged(result)
    assert [part.mean() for part in np.split(right, 10)] == pytest.approx(list(result.fold_accuracies), abs=1e-12)
    for pair in (0, 17, 599):
        threshold = result.fold_thresholds[pair // 60]
        assert right[pair] == ((result.distances_P[pair] < threshold) == result.issame_P[pair])


def test_a_clearly_better_model_is_found_and_named():
    better, worse = blurred(1, 0.3), blurred(2, 1.6)
    entries = {entry.metric: entry for entry in compared(better, worse)}
    assert set(entries) == {"accuracy", "auc", "eer", "tar@0.1", "tar@0.01"}
    for metric, entry in entries.items():
        assert (entry.first, entry.second) == (0, 1)
        assert entry.low <= entry.difference <= entry.high
        assert entry.p_value == entry.p_adjusted < 0.05
        assert entry.method == (MCNEMAR if metric == "accuracy" else BOOTSTRAP)
        assert entry.difference == pytest.approx(value(better, metric) - value(worse, metric), abs=1e-15)
    assert entries["auc"].low > 0
    assert entries["auc"].verdict == "the first has the higher figure, hardly by chance"
    assert entries["eer"].verdict == "the second has the higher figure, hardly by chance"
    swapped = {entry.metric: entry for entry in compared(worse, better)}
    assert swapped["auc"].difference == -entries["auc"].difference
    assert swapped["accuracy"].p_value == entries["accuracy"].p_value


def value(result, metric):
    name, _, far = metric.partition("@")
    return result.tar_at_far[float(far)] if far else getattr(result, name)


def test_accuracy_is_judged_by_the_pairs_that_one_model_alone_has_right():
    one, other = blurred(1, 0.8), blurred(2, 1.0)
    first, second = (rightly_judged(result) for result in (one, other))
    only, too = int((first & ~second).sum()), int((second & ~first).sum())
    assert min(only, too) > 0
    entry = next(entry for entry in compared(one, other) if entry.metric == "accuracy")
    assert entry.p_value == pytest.approx(scipy.stats.binomtest(only, only + too).pvalue, rel=1e-9)


def test_a_model_does_not_differ_from_itself():
    for entry in compared(blurred(1, 1.0), blurred(1, 1.0)):
        assert (entry.difference, entry.low, entry.high, entry.p_value) == (0, 0, 0, 1)
        assert entry.verdict == "no difference"


def test_chance_is_seldom_taken_for_a_difference():
    """Models of equal merit, 20 times: at 5 % one is expected, 6 or more happen once in 3,000 times."""
    false = {"accuracy": 0, "auc": 0}
    for seed in range(20):
        for entry in compared(blurred(2 * seed + 100, 1.2), blurred(2 * seed + 101, 1.2), replicates=100):
            if entry.metric in false:
                false[entry.metric] += entry.p_value < 0.05
    assert all(count <= 5 for count in false.values()), false


def test_with_more_models_the_same_difference_has_to_be_clearer():
    models = [blurred(1, 0.8), blurred(2, 1.0), blurred(3, 0.9)]
    entries = [entry for entry in compared(*models) if entry.metric == "accuracy"]
    assert [(entry.first, entry.second) for entry in entries] == [(0, 1), (0, 2), (1, 2)]
    by_value = sorted(entries, key=lambda entry: entry.p_value)
    assert by_value[0].p_adjusted == pytest.approx(min(3 * by_value[0].p_value, 1))
    assert by_value[1].p_adjusted == pytest.approx(max(min(2 * by_value[1].p_value, 1), by_value[0].p_adjusted))
