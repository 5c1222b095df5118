"""Whether one way is better than another: AUC against scikit-learn, DeLong's error against resampling."""

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from recognition.embedding.preprocess import OURS, parse_preprocess
from recognition.embedding.trials import Trial, area, chance_error, clearly_better, delong_z, other_ways, recut
from tests.embedding.patterns import Reader, fed


def drawn(rng, *, gap_one, gap_other, common=0.7, genuine=64, impostor=64):
    """Distances of two models on the same pairs, correlated as such are; the gaps part genuine from impostor."""
    issame = np.arange(genuine + impostor) < genuine
    shared = rng.normal(size=len(issame))
    one, other = (
        common * shared + (1 - common**2) ** 0.5 * rng.normal(size=len(issame)) - gap * issame
        for gap in (gap_one, gap_other)
    )
    return one, other, issame


@pytest.mark.parametrize("decimals", [0, 8])
def test_the_area_is_scikit_learns_with_ties_and_without(decimals):
    one, _, issame = drawn(np.random.default_rng(0), gap_one=1, gap_other=1)
    one = one.round(decimals)
    assert area(one, issame) == pytest.approx(roc_auc_score(issame, -one), abs=1e-12)


def test_delongs_error_is_that_of_many_draws():
    """z of no difference is a standard normal: its mean 0 and deviation 1, within 4 standard errors of 800 draws."""
    rng = np.random.default_rng(1)
    z = np.array([delong_z(*drawn(rng, gap_one=1.5, gap_other=1.5, genuine=24, impostor=120)) for _ in range(800)])
    assert abs(z.mean()) < 4 / np.sqrt(len(z))
    assert abs(z.std() - 1) < 4 / np.sqrt(2 * len(z))


def test_delongs_statistic_is_that_of_the_paper_worked_out_pair_by_pair():
    """Structural components and their covariances, eq. 3 to 5, of unequal numbers and spreads of the two kinds."""
    one, other, issame = drawn(np.random.default_rng(5), gap_one=1, gap_other=1.3, genuine=17, impostor=60)
    one, other = (np.where(issame, 3 * distances, distances) for distances in (one, other))
    parts = {True: [], False: []}
    for distances in (one, other):
        genuine, impostor = distances[issame], distances[~issame]
        parts[True].append([np.mean([float(g < i) for i in impostor]) for g in genuine])
        parts[False].append([np.mean([float(g < i) for g in genuine]) for i in impostor])
    covariance = np.cov(parts[True]) / 17 + np.cov(parts[False]) / 60
    difference = area(other, issame) - area(one, issame)
    expected = difference / np.sqrt(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
    assert delong_z(one, other, issame) == pytest.approx(expected, rel=1e-9)


def test_delong_counts_towards_the_better_one():
    one, other, issame = drawn(np.random.default_rng(2), gap_one=0.5, gap_other=3)
    assert delong_z(one, other, issame) > 3
    assert delong_z(other, one, issame) == pytest.approx(-delong_z(one, other, issame))
    assert delong_z(one, one, issame) == 0 or np.isnan(delong_z(one, one, issame))


def test_clearly_better_is_neither_chance_nor_a_trifle():
    rng = np.random.default_rng(3)
    one, other, issame = drawn(rng, gap_one=0.5, gap_other=3)
    assert clearly_better(one, other, issame)
    assert not clearly_better(other, one, issame)
    assert not clearly_better(one, one, issame)
    assert clearly_better(None, other, issame)
    false_alarms = sum(clearly_better(*drawn(rng, gap_one=1, gap_other=1)) for _ in range(400))
    assert false_alarms <= 4  # 0.00135 of 400 is 0.5; more than 4 have a chance below 0.0003
    many, slightly, flags = drawn(rng, gap_one=1, gap_other=1.1, common=0.9999, genuine=2000, impostor=2000)
    assert delong_z(many, slightly, flags) > 3
    assert not clearly_better(many, slightly, flags)


def test_the_error_of_a_guesser_is_that_of_many_guesses():
    rng, issame = np.random.default_rng(4), np.arange(50) < 20
    areas = [area(rng.random(50), issame) for _ in range(2000)]
    assert chance_error(Trial(np.zeros((100, 1, 1, 3), np.uint8), issame)) == pytest.approx(np.std(areas), rel=0.07)


def test_every_other_way_is_tried_once():
    words = [way.words for way in other_ways(fed(Reader()))]
    assert words == ["bgr", "unit", "unit,bgr", "raw", "raw,bgr", "imagenet", "imagenet,bgr"]
    facenet = fed(Reader(), parse_preprocess("facenet"))
    assert {way.preprocess.size for way in other_ways(facenet)} == {160}
    for way in other_ways(facenet):
        assert parse_preprocess(way.words).over(facenet.preprocess) == way.preprocess
        assert way.changes == (way.preprocess.order != "RGB") + (way.preprocess.std != (128.0,))
    taking_bytes = fed(Reader())
    object.__setattr__(taking_bytes.network, "whole_pixels", True)
    assert [way.words for way in other_ways(taking_bytes)] == ["bgr"]
    assert OURS not in [way.preprocess for way in other_ways(fed(Reader()))]


def test_recut_enlarges_about_the_point_that_it_says():
    x = torch.arange(16.0).view(1, 1, 1, 16).expand(1, 3, 16, 16)
    same = recut(lambda x: x, 1.0, 0.0)(x)
    torch.testing.assert_close(same, x, rtol=0, atol=1e-4)
    twice = recut(lambda x: x, 2.0, 0.0)(x)
    # Column u of the result lies at (u + 0.5) / 2 + 4 - 0.5 of the picture.
    torch.testing.assert_close(twice[0, 0, 8], (torch.arange(16) + 0.5) / 2 + 3.5, rtol=0, atol=1e-4)
    lower = recut(lambda x: x, 1.0, 0.25)(x.transpose(2, 3))
    torch.testing.assert_close(lower[0, 0, :12, 3], torch.arange(16.0)[4:], rtol=0, atol=1e-4)
