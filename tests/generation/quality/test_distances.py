"""Distances between sets against the formulas as they stand, torchmetrics, and what they must do."""

import numpy as np
import pytest
import scipy.linalg
import torch

from generation.quality import distances
from generation.quality.distances import frechet_distance, inception_score, kernel_distance
from recognition.errors import InputError


def vectors(seed, count=200, dim=8, shift=0.0, scale=1.0):
    draw = np.random.default_rng(seed)
    return draw.normal(size=(count, dim)) @ np.random.default_rng(99).normal(size=(dim, dim)) * scale + shift


@pytest.mark.parametrize(("shift", "scale"), [(0.0, 1.0), (0.7, 1.0), (0.0, 1.5), (-2.0, 0.2)])
def test_the_formula_with_scipys_root(shift, scale):
    a, b = vectors(0), vectors(1, 150, shift=shift, scale=scale)
    cov_a, cov_b = (np.cov(each, rowvar=False) for each in (a, b))
    root = scipy.linalg.sqrtm(cov_a @ cov_b).real
    wanted = ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(cov_a + cov_b - 2 * root)
    assert frechet_distance(a, b) == pytest.approx(wanted, rel=1e-6)


def test_a_set_is_at_no_distance_from_itself():
    a = vectors(0)
    assert frechet_distance(a, a) < 1e-9
    few = vectors(0, count=5)  # fewer than dimensions: covariances without full rank
    assert frechet_distance(few, few) < 1e-6


def test_it_is_symmetric_and_that_of_means_where_these_alone_differ():
    a, b = vectors(0), vectors(1, shift=0.5)
    assert frechet_distance(a, b) == pytest.approx(frechet_distance(b, a), rel=1e-9)
    assert frechet_distance(a, a + 3.0) == pytest.approx(8 * 9.0)


def test_frechet_of_two_normals_on_a_line():
    """(m1 - m2)^2 + (s1 - s2)^2."""
    one, other = np.array([[0.0], [2.0]]), np.array([[10.0], [16.0]])
    assert frechet_distance(one, other) == pytest.approx(12**2 + (2**0.5 - 18**0.5) ** 2)


def test_float32_is_enough_to_come_in():
    a, b = vectors(0), vectors(1, shift=0.5)
    assert frechet_distance(a.astype(np.float32), b.astype(np.float32)) == pytest.approx(
        frechet_distance(a, b), rel=1e-4
    )


def kernel_by_hand(a_ND, b_ND):
    def kernel(x, y):
        return (x @ y / len(x) + 1) ** 3

    def within(rows):
        values = [kernel(x, y) for i, x in enumerate(rows) for j, y in enumerate(rows) if i != j]
        return sum(values) / len(values)

    return within(a_ND) + within(b_ND) - 2 * np.mean([[kernel(x, y) for y in b_ND] for x in a_ND])


def test_kernel_distance_is_the_formula(monkeypatch):
    a, b = vectors(0, 60), vectors(1, 40, shift=0.5)
    wanted = kernel_by_hand(a, b)
    assert kernel_distance(a, b) == pytest.approx(wanted, rel=1e-9)
    monkeypatch.setattr(distances, "ROWS", 7)
    assert kernel_distance(a, b) == pytest.approx(wanted, rel=1e-9)


def test_kernel_distance_is_that_of_torchmetrics():
    functions = pytest.importorskip("torchmetrics.image.kid")
    a, b = vectors(0, 40), vectors(1, 40, shift=0.5)
    wanted = functions.poly_mmd(torch.from_numpy(a), torch.from_numpy(b)).item()
    assert kernel_distance(a, b) == pytest.approx(wanted, rel=1e-9)


def test_kernel_distance_has_no_bias():
    """Of small sets of one kind it is 0 on average, where a Fréchet distance is far above."""
    draw = np.random.default_rng(0)
    draws = [draw.normal(size=(2, 10, 3)) for _ in range(2000)]
    values = np.array([kernel_distance(*pair) for pair in draws])
    assert abs(values.mean()) < 4 * values.std() / len(values) ** 0.5
    assert min(frechet_distance(*pair) for pair in draws[:100]) > 0.05


def test_inception_score_by_hand():
    sure = np.array([[50.0, 0, 0], [0, 50, 0], [0, 0, 50]])
    assert inception_score(sure) == pytest.approx(3)
    assert inception_score(np.zeros((5, 7))) == pytest.approx(1)
    # p = (3/4, 1/4) and (1/4, 3/4), whose mean is (1/2, 1/2): KL = 3/4 ln 3/2 + 1/4 ln 1/2.
    logits = np.log([[3.0, 1], [1, 3]])
    assert inception_score(logits) == pytest.approx(1.5**0.75 * 0.5**0.25)
    assert inception_score(logits + 1000) == pytest.approx(1.5**0.75 * 0.5**0.25)


def test_inception_score_is_a_mean_over_pictures():
    p_NC = np.array([[0.75, 0.25], [0.5, 0.5], [0.1, 0.9]])
    divergences = [sum(p * np.log(p / q) for p, q in zip(row, p_NC.mean(0))) for row in p_NC]
    assert inception_score(np.log(p_NC)) == pytest.approx(np.exp(np.mean(divergences)))


def test_a_class_that_nobody_is_seen_as():
    assert inception_score(np.array([[2000.0, 0, -2000], [0, 2000, -2000]])) == pytest.approx(2)


def test_one_picture_is_no_set():
    for distance in (frechet_distance, kernel_distance):
        with pytest.raises(InputError, match="two pictures or more of each set, not 1 and 200"):
            distance(vectors(0, 1), vectors(1))
    with pytest.raises(InputError, match="one picture or more"):
        inception_score(np.zeros((0, 3)))
