"""The protocol against arcface_torch's own results, a loop over every threshold, and scikit-learn."""

import json
import math
import time

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score
from sklearn.metrics import roc_curve as sklearn_roc
from sklearn.model_selection import KFold
from sklearn.preprocessing import normalize

from recognition.errors import InputError
from recognition.verification import VerificationResult, verify_pairs
from recognition.verification.protocol import THRESHOLDS, fold_scores, measure_pairs
from tests.conftest import FIXTURES
from tests.verification.synthetic import noisy_pairs

CASES = json.loads((FIXTURES / "verification.json").read_text())


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"seed{case['seed']}")
def test_equal_to_arcface_torch(case):
    result = verify_pairs(*noisy_pairs(case["seed"], case["noise"]), folds=10)
    np.testing.assert_allclose(result.fold_accuracies, case["acc_folds"], rtol=0, atol=1e-12)
    assert abs(result.accuracy - case["acc_mean"]) < 1e-12
    assert abs(result.accuracy_std - case["acc_std"]) < 1e-12


def test_the_fixture_is_the_shared_one(shared_dir):
    assert json.loads((shared_dir / "interop" / "verification.json").read_text()) == CASES


def brute_force(distances, issame, folds):
    """Every threshold on every fold, one comparison at a time, as the protocol is worded."""
    accuracies, thresholds = [], []
    for train, test in KFold(folds, shuffle=False).split(distances):
        scores = [np.mean((distances[train] < threshold) == issame[train]) for threshold in np.arange(0, 4, 0.01)]
        best = np.arange(0, 4, 0.01)[scores.index(max(scores))]
        accuracies.append(np.mean((distances[test] < best) == issame[test]))
        thresholds.append(best)
    return np.array(accuracies), np.array(thresholds)


@pytest.mark.parametrize("seed", range(20))
def test_folds_equal_brute_force_also_on_the_thresholds_themselves(seed):
    rng = np.random.default_rng(seed)
    num_pairs, folds = int(rng.integers(20, 150)), int(rng.integers(2, 12))
    issame = rng.random(num_pairs) < rng.uniform(0.2, 0.8)
    # Distances that lie exactly on thresholds, one step of a float beside them, at the ends, and beyond the last.
    distances = np.clip(rng.normal(np.where(issame, 1.2, 1.6), 0.5), 0, 4)
    on = rng.random(num_pairs) < 0.6
    distances[on] = rng.choice(THRESHOLDS, on.sum())
    beside = rng.random(num_pairs) < 0.2
    distances[beside] = np.nextafter(distances[beside], rng.choice([-1, 5], beside.sum()))
    distances[:4] = (0.0, 4.0, 3.995, THRESHOLDS[1])
    accuracies, thresholds = fold_scores(distances, issame, folds)
    expected_accuracies, expected_thresholds = brute_force(distances, issame, folds)
    np.testing.assert_array_equal(thresholds, expected_thresholds)
    np.testing.assert_allclose(accuracies, expected_accuracies, rtol=0, atol=1e-15)


def test_embeddings_of_any_length_are_scaled_first():
    embeddings, issame = noisy_pairs(1, 1.2)
    result = verify_pairs(embeddings * np.random.default_rng(0).uniform(0.1, 90, (len(embeddings), 1)), issame)
    unit = normalize(embeddings)
    np.testing.assert_allclose(result.distances_P, np.square(unit[0::2] - unit[1::2]).sum(axis=1), rtol=0, atol=1e-13)
    assert result.threshold == pytest.approx(np.mean(result.fold_thresholds))


@pytest.mark.parametrize("rounding", [None, 1])
def test_auc_and_eer_equal_scikit_learn(rounding):
    embeddings, issame = noisy_pairs(3, 1.6)
    embeddings = embeddings[:, :3] if rounding is None else embeddings[:, :3].round(rounding) + 0.05  # many ties
    result = verify_pairs(embeddings, issame)
    assert result.auc == pytest.approx(roc_auc_score(issame, -result.distances_P), abs=1e-13)
    far, tar, _ = sklearn_roc(issame, -result.distances_P, drop_intermediate=False)
    grid = np.linspace(0, 1, 200_001)
    nearest = np.argmin(np.abs(grid - (1 - np.interp(grid, far, tar))))
    assert result.eer == pytest.approx(grid[nearest], abs=1e-5)
    np.testing.assert_allclose(result.roc_far, far, atol=1e-15)
    np.testing.assert_allclose(result.roc_tar, tar, atol=1e-15)


def test_tar_at_far_is_the_best_threshold_that_keeps_the_promise():
    embeddings, issame = noisy_pairs(2, 1.5, num_pairs=4000)
    embeddings = embeddings.round(1) + 0.01  # ties among the impostors
    result = verify_pairs(embeddings, issame)
    genuine, impostor = result.distances_P[issame], result.distances_P[~issame]
    candidates = np.r_[np.unique(result.distances_P), 5.0]
    for far, tar in result.tar_at_far.items():
        if far * 2000 < 1:
            assert tar is None
        else:
            assert tar == max(np.mean(genuine < t) for t in candidates if np.mean(impostor < t) <= far)
    assert [far for far, tar in result.tar_at_far.items() if tar is not None] == [1e-1, 1e-2, 1e-3]


def test_genuine_pairs_at_the_limit_itself_are_not_accepted():
    """20 impostors at one distance, genuine pairs at the very same one: FAR 10 % lets in none of either."""
    issame = np.arange(40) % 2 == 0
    embeddings = np.tile([[1.0, 0.0], [0.0, 1.0]], (40, 1))
    embeddings[1:16:4] = (1.0, 0.0)  # four genuine pairs at distance 0
    result = verify_pairs(embeddings, issame)
    assert np.sum(result.distances_P[issame] == 0) == 4
    assert result.tar_at_far[0.1] == 4 / 20


def test_too_few_impostors_give_no_tar():
    embeddings, issame = noisy_pairs(0, 1.1, num_pairs=100)
    assert verify_pairs(embeddings, issame).tar_at_far[1e-2] is None
    assert verify_pairs(embeddings, issame).tar_at_far[1e-1] is not None


def test_a_perfect_and_a_reversed_model():
    issame = np.arange(40) % 2 == 0
    angle = np.where(issame, 0.05, 1.5)
    embeddings = np.empty((80, 2))
    embeddings[0::2], embeddings[1::2] = (1, 0), np.stack([np.cos(angle), np.sin(angle)], axis=1)
    perfect = verify_pairs(embeddings, issame)
    assert (perfect.accuracy, perfect.auc, perfect.eer, perfect.warnings) == (1, 1, 0, ())
    reverse = verify_pairs(embeddings, ~issame)
    assert (reverse.auc, reverse.eer) == (0, 1)
    assert "worse than guessing" in reverse.warnings[0]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_embeddings_that_are_not_finite_are_an_error_that_names_the_image(value):
    embeddings, issame = noisy_pairs(0, 1.1)
    embeddings[[700, 900], 3] = value
    with pytest.raises(
        InputError, match=r"2 of 1200 embeddings are NaN or infinite, first that of image 700 \(pair 350\)"
    ):
        verify_pairs(embeddings, issame)


def test_collapsed_and_empty_embeddings_are_warned_of():
    embeddings, issame = noisy_pairs(0, 1.1)
    constant = verify_pairs(np.ones((1200, 8)) + 1e-6 * embeddings[:, :8], issame)
    assert "nearly the same direction" in constant.warnings[0]
    same = verify_pairs(np.ones((1200, 8)), issame)
    assert same.accuracy == 0.5
    assert "nearly the same direction" in same.warnings[0]
    embeddings[5] = 0
    assert "1 of 1200 embeddings are all zeros" in verify_pairs(embeddings, issame).warnings[0]
    assert verify_pairs(*noisy_pairs(0, 1.1)).warnings == ()


@pytest.mark.parametrize(
    ("rows", "flags", "folds", "message"),
    [
        (10, [True] * 5, 2, "all 5 pairs are same-person"),
        (10, [False] * 5, 2, "all 5 pairs are different-person"),
        (9, [True, False] * 2, 2, "do not fit"),
        (10, [True, False], 2, "do not fit"),
        (4, [True, False], 3, "2 pairs cannot make 3 folds"),
        (4, [True, False], 1, "cannot make 1 folds"),
    ],
)
def test_input_that_cannot_be_scored_is_refused(rows, flags, folds, message):
    with pytest.raises(InputError, match=message):
        verify_pairs(np.random.default_rng(0).normal(size=(rows, 4)), np.array(flags), folds)


def test_the_result_cannot_be_changed():
    result = verify_pairs(*noisy_pairs(0, 1.1))
    assert isinstance(result, VerificationResult)
    with pytest.raises(AttributeError):
        result.accuracy = 1.0


def test_six_thousand_pairs_take_milliseconds():
    """A pass over the pairs for each threshold takes seconds; a histogram does not. 0.15 s allows a busy machine."""
    distances = np.random.default_rng(0).uniform(0, 4, 6000)
    issame = np.arange(6000) % 600 < 300
    best = min(_seconds(distances, issame) for _ in range(3))
    assert best < 0.05


def _seconds(distances, issame):
    started = time.process_time()
    fold_scores(distances, issame, 10)
    return time.process_time() - started


@pytest.mark.parametrize("num_pairs", [10, 127, 128, 129, 300])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16])
def test_distances_lengths_and_mean_are_those_of_each_row(num_pairs, dtype):
    rng = np.random.default_rng(num_pairs)
    rows = (rng.normal(size=(2 * num_pairs, 7)) * 10.0 ** rng.integers(-2, 3, (2 * num_pairs, 1))).astype(dtype)
    rows[4] = rows[5]  # equal
    rows[7] = 0
    rows[8:10] = 0
    rows[10] = 0
    measured = measure_pairs(rows)
    unit = [np.zeros(7) if not row.any() else row / math.hypot(*row) for row in rows.astype(np.float64)]
    for pair in range(num_pairs):
        expected = sum((a - b) ** 2 for a, b in zip(unit[2 * pair], unit[2 * pair + 1]))
        assert measured.distances_P[pair] == pytest.approx(expected, rel=1e-12, abs=1e-15)
    assert measured.distances_P[2] == measured.distances_P[4] == 0
    assert measured.distances_P[3] == pytest.approx(1)
    np.testing.assert_allclose(measured.norms_N, [math.hypot(*row) for row in rows.astype(np.float64)], rtol=1e-14)
    np.testing.assert_allclose(measured.mean_D, np.mean(unit, axis=0), rtol=0, atol=1e-14)
