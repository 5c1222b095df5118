"""Resampled figures against a loop over everything; intervals that cover, and have the ends of exact ones."""

import numpy as np
import pytest
from scipy.stats import beta, binom, ks_2samp, norm
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import KFold

from recognition.errors import InputError
from recognition.verification.bootstrap import PAIRS, PEOPLE, interval_of, resample_pairs
from recognition.verification.pair_weights import draw_weights
from recognition.verification.protocol import THRESHOLDS
from tests.verification.synthetic import normal_result, result_of

NEAREST, FARTHEST = -1.0, 9.0


def weighted_accuracy(result, folds, pairs, unseen_genuine, unseen_impostor, best):
    """The mean over the folds, a fold's threshold the first that is best on the others; kinds as in the set."""
    distances, issame = result.distances_P, result.issame_P
    num_pairs = len(issame)
    chosen, fold_share = np.empty(num_pairs), np.empty(num_pairs)
    kind = {
        same: sum(1 / len(t) for _, t in KFold(folds).split(issame) for p in t if issame[p] == same) / folds
        for same in (0, 1)
    }
    for train, test in KFold(folds).split(issame):
        right = (distances[train] < THRESHOLDS[:, None]) == issame[train]
        scores = right @ (pairs[train] * np.where(issame[train], kind[1], kind[0]))
        chosen[test] = THRESHOLDS[np.flatnonzero(scores > scores.max() - 1e-12)[0]]
        fold_share[test] = num_pairs / (folds * len(test))
    right = (distances < chosen) == issame
    total = 0
    for same, unseen in ((1, unseen_genuine), (0, unseen_impostor)):
        of_kind = pairs * fold_share * (issame == same)
        total += kind[same] * (of_kind[right].sum() + best * unseen) / (of_kind.sum() + unseen)
    return total


def weighted_rates(result, pairs, unseen_genuine, unseen_impostor, best):
    """FAR and TAR at every distance, and AUC, what was not seen added as two more pairs at the ends."""
    distances = np.r_[result.distances_P, NEAREST if best else FARTHEST, FARTHEST if best else NEAREST]
    issame, weights = np.r_[result.issame_P, True, False], np.r_[pairs, unseen_genuine, unseen_impostor]
    at = [-np.inf, *np.unique(distances)]
    rates = np.array(
        [[weights[(distances <= t) & (issame == s)].sum() / weights[issame == s].sum() for s in (0, 1)] for t in at]
    )
    return rates[:, 0], rates[:, 1], roc_auc_score(issame, -distances, sample_weight=weights)


@pytest.mark.parametrize(("num_pairs", "folds", "decimals"), [(50, 10, 3), (37, 4, 1), (9, 9, 2), (30, 2, 0)])
@pytest.mark.parametrize("by_people", [False, True])
def test_figures_equal_a_loop_over_everything(num_pairs, folds, decimals, by_people):
    rng = np.random.default_rng(num_pairs)
    issame = rng.random(num_pairs) < 0.4
    issame[:2] = True, False
    distances = np.clip(rng.normal(np.where(issame, 1, 1.6), 0.5), 0, 4).round(decimals)
    result = result_of(distances, issame, folds)
    people = None
    if by_people:
        first = rng.integers(0, 12, num_pairs)
        people = np.stack([first, np.where(issame, first, (first + rng.integers(1, 12, num_pairs)) % 12)], axis=1)
    (found,) = resample_pairs([result], people_P2=people, replicates=6, seed=5)
    assert found.unit == (PEOPLE if by_people else PAIRS)
    (weights,) = draw_weights(issame, people, replicates=6, seed=5)
    fars = [point.far for point in result.operating_points if point.tar is not None]
    assert set(found.values) == {"accuracy", "auc", "eer", *(f"tar@{far:g}" for far in fars)}
    for r in range(6):
        row = weights.pairs_RP[r], weights.unseen_genuine_R[r], weights.unseen_impostor_R[r]
        assert (found.unseen_genuine_R[r], found.unseen_impostor_R[r]) == row[1:]
        for best in (0, 1):
            far, tar, area = weighted_rates(result, *row, best)
            after = int(np.flatnonzero(far + tar >= 1)[0])
            share = (1 - far[after - 1] - tar[after - 1]) / (far[after] + tar[after] - far[after - 1] - tar[after - 1])
            expected = {"auc": area, "accuracy": weighted_accuracy(result, folds, *row, best)}
            expected |= {f"tar@{rate:g}": tar[far <= rate].max() for rate in fars}
            figures = {metric: found.values[metric][best, r] for metric in expected}
            assert figures == pytest.approx(expected, abs=1e-12)
            # The lower error rate is the one with the better pairs.
            eer = far[after - 1] + share * (far[after] - far[after - 1])
            assert found.values["eer"][1 - best, r] == pytest.approx(eer, abs=1e-12)


def covered(replicates, truth):
    ends = {metric: replicates.interval(metric) for metric in truth}
    return {metric: ends[metric][0] <= value <= ends[metric][1] for metric, value in truth.items()}


def test_intervals_cover_the_truth_of_normal_scores():
    """At least 95 %, less what chance may take away in so many trials (1 in 1000); not more than 99 % of all."""
    trials, gap = 200, 2
    truth = {"accuracy": norm.cdf(gap / 2), "auc": norm.cdf(gap / 2**0.5), "eer": norm.cdf(-gap / 2)}
    truth |= {f"tar@{far:g}": norm.cdf(norm.ppf(far) + gap) for far in (0.1, 0.01)}
    rng = np.random.default_rng(0)
    hits = dict.fromkeys(truth, 0)
    for trial in range(trials):
        (replicates,) = resample_pairs([normal_result(rng, 800, gap, folds=2)], replicates=120, seed=trial)
        for metric, hit in covered(replicates, truth).items():
            hits[metric] += hit
    for metric, count in hits.items():
        assert count >= binom.ppf(1e-3, trials, 0.95), f"{metric}: {count} of {trials}"
    assert sum(hits.values()) <= 0.99 * len(hits) * trials, hits


def test_pairs_of_the_same_people_are_not_independent():
    """Each of 40 people has 12 genuine and 12 impostor pairs, and is easy or hard: only people's intervals cover."""
    trials, people, each = 60, 40, 12
    rng = np.random.default_rng(0)
    truth = {"auc": norm.cdf(0.8 / np.hypot(0.15 * 2**0.5, 0.15 * 3**0.5))}
    first = np.repeat(np.arange(people), 2 * each)
    issame = np.arange(len(first)) % 2 == 0
    hits = {PAIRS: 0, PEOPLE: 0}
    for trial in range(trials):
        second = np.where(issame, first, (first + rng.integers(1, people, len(first))) % people)
        genuine_effect, impostor_effect = rng.normal(0, 0.15, (2, people))
        effect = np.where(issame, 1 + genuine_effect[first], 1.8 + impostor_effect[first] + impostor_effect[second])
        result = result_of(np.clip(rng.normal(effect, 0.15), 0, 4), issame, folds=2)
        for who in (None, np.stack([first, second], axis=1)):
            (replicates,) = resample_pairs([result], people_P2=who, replicates=120, seed=trial)
            hits[replicates.unit] += covered(replicates, truth)["auc"]
    assert hits[PEOPLE] >= binom.ppf(1e-3, trials, 0.95)
    assert hits[PAIRS] < binom.ppf(1e-3, trials, 0.95)


def test_a_share_has_the_ends_of_clopper_and_pearson():
    """Impostors all at one distance leave no doubt of the threshold; 280 of 300 genuine pairs lie below it."""
    issame = np.arange(600) < 300
    distances = np.where(issame, 1.0, 3.0)
    distances[:20] = 3.5
    (found,) = resample_pairs([result_of(distances, issame)], replicates=4000, seed=0)
    low_R, high_R = found.values["tar@0.1"]
    assert ks_2samp(low_R, beta.rvs(280, 21, size=100_000, random_state=0)).pvalue > 1e-3
    assert ks_2samp(high_R, beta.rvs(281, 20, size=100_000, random_state=0)).pvalue > 1e-3


def test_the_threshold_of_a_far_has_the_ends_of_order_statistics():
    """How many impostors lie below the population's threshold is binomial; the genuine share there is a Beta."""
    rng = np.random.default_rng(1)
    result = normal_result(rng, 600, 3)
    genuine, impostor = result.distances_P[result.issame_P], np.sort(result.distances_P[~result.issame_P])
    (found,) = resample_pairs([result], replicates=4000, seed=0)
    limits = np.r_[-np.inf, impostor, np.inf]
    for far in (0.1, 0.01):
        for best in (0, 1):
            below = rng.binomial(300, far, 50_000)
            seen = (genuine[None, :] < limits[np.arange(302)][:, None]).sum(axis=1)[below + best]
            shares = np.where(seen + best > 0, rng.beta(np.maximum(seen + best, 1), 301 - seen - best), 0)
            assert ks_2samp(found.values[f"tar@{far:g}"][best], shares).pvalue > 1e-3


@pytest.mark.parametrize(("impostors", "bounded"), [(300, False), (400, True)])
def test_three_impostors_cannot_bound_a_tar_from_below_and_four_can(impostors, bounded):
    """With 3 expected below the threshold there is none in 5 % of sets, with 4 in 1.8 %: less than 2.5 % at the end."""
    rng = np.random.default_rng(0)
    issame = np.arange(500 + impostors) < 500
    distances = rng.normal(np.where(issame, 1, 1.8), 0.2)
    result = result_of(distances, issame)
    (found,) = resample_pairs([result], replicates=4000)
    low, high = found.interval("tar@0.01")
    assert (low > 0) == bounded
    assert low <= result.tar_at_far[0.01] < high


def test_a_set_without_errors_is_not_certain():
    issame = np.arange(600) % 2 == 0
    (found,) = resample_pairs([result_of(np.where(issame, 1.0, 3.0), issame)])
    intervals = {metric: found.interval(metric) for metric in ("accuracy", "auc", "eer", "tar@0.1")}
    for metric, perfect in (("accuracy", 1), ("auc", 1), ("eer", 0)):
        assert intervals[metric][metric != "eer"] == pytest.approx(perfect, abs=1e-12)
    # The rule of three: of 300 without an error up to 3.7 in 300 may be wrong (0.025 ** (1 / 300)).
    assert intervals["tar@0.1"][0] == pytest.approx(0.025 ** (1 / 300), abs=2e-3)
    assert 0.98 < intervals["accuracy"][0] < 0.995
    assert 0.97 < intervals["auc"][0] < 0.995
    assert 0.005 < intervals["eer"][1] < 0.02


def test_the_same_arguments_give_the_same_figures_and_models_see_the_same_sets():
    rng = np.random.default_rng(0)
    one, other = normal_result(rng, 200, 2), normal_result(rng, 200, 2)
    first, again, apart = resample_pairs([one, one, other], replicates=30)
    alone, second_alone = (resample_pairs([result], replicates=30)[0] for result in (one, other))
    (reseeded,) = resample_pairs([one], replicates=30, seed=1)
    for metric, values in first.values.items():
        np.testing.assert_array_equal(values, again.values[metric])
        np.testing.assert_array_equal(values, alone.values[metric])
        np.testing.assert_array_equal(apart.values[metric], second_alone.values[metric])
        assert (values != apart.values[metric]).any()
        assert (values != reseeded.values[metric]).any()


def test_interval_ends_are_order_statistics_of_their_own_side():
    values = np.random.default_rng(0).permutation(1000).astype(float)
    assert interval_of(values, values + 5000) == (24, 974 + 5000)  # the 25th and the 975th, from 0
    (found,) = resample_pairs([normal_result(np.random.default_rng(0), 100, 2)], replicates=40)
    assert found.interval("tar@0.001") is None


def test_results_of_different_pairs_and_a_single_resample_are_refused():
    result = normal_result(np.random.default_rng(0), 40, 2)
    for other in (
        result_of(result.distances_P, ~result.issame_P),
        result_of(result.distances_P, result.issame_P, 5),
    ):
        with pytest.raises(InputError, match="different sets of pairs"):
            resample_pairs([result, other], replicates=2)
    with pytest.raises(InputError, match="1 replicates cannot make an interval; use 2 at least"):
        resample_pairs([result], replicates=1)
