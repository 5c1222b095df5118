"""Distances between sets against SciPy, brute force, torchmetrics and what is known by hand."""

import numpy as np
import pytest
from scipy import linalg

from generation.quality import distances
from generation.quality.distances import frechet_distance, inception_score, kernel_distance
from recognition.errors import InputError

RNG = np.random.default_rng(0)
A, B = RNG.normal(size=(60, 5)), RNG.normal(1, 2, size=(40, 5)) @ RNG.normal(size=(5, 5))


def by_square_root(a_ND, b_ND):
    """Eq. 6 as it is written."""
    a_DD, b_DD = np.cov(a_ND, rowvar=False), np.cov(b_ND, rowvar=False)
    between = a_ND.mean(0) - b_ND.mean(0)
    return between @ between + np.trace(a_DD + b_DD - 2 * linalg.sqrtm(a_DD @ b_DD).real)


def test_frechet_is_the_formula():
    assert frechet_distance(A, B) == pytest.approx(by_square_root(A, B), rel=1e-9)
    assert frechet_distance(A, B) == pytest.approx(frechet_distance(B, A), rel=1e-9)


def test_frechet_of_two_normals_on_a_line():
    """(m1 - m2)^2 + (s1 - s2)^2."""
    one, other = np.array([[0.0], [2.0]]), np.array([[10.0], [16.0]])
    assert frechet_distance(one, other) == pytest.approx(12**2 + (2**0.5 - 18**0.5) ** 2)


def test_frechet_of_the_same_is_nothing_also_without_full_rank():
    assert frechet_distance(A, A) == pytest.approx(0, abs=1e-9)
    few = RNG.normal(size=(4, 50))
    assert frechet_distance(few, few) == pytest.approx(0, abs=1e-6)


def kernel_by_hand(a_ND, b_ND):
    def kernel(x, y):
        return (x @ y / len(x) + 1) ** 3

    def within(rows):
        values = [kernel(x, y) for i, x in enumerate(rows) for j, y in enumerate(rows) if i != j]
        return sum(values) / len(values)

    return within(a_ND) + within(b_ND) - 2 * np.mean([[kernel(x, y) for y in b_ND] for x in a_ND])


def test_kernel_distance_is_the_formula(monkeypatch):
    wanted = kernel_by_hand(A, B)
    assert kernel_distance(A, B) == pytest.approx(wanted, rel=1e-9)
    monkeypatch.setattr(distances, "ROWS", 7)
    assert kernel_distance(A, B) == pytest.approx(wanted, rel=1e-9)


def test_kernel_distance_is_that_of_torchmetrics():
    functions = pytest.importorskip("torchmetrics.image.kid")
    import torch

    a, b = (torch.from_numpy(each[:40]) for each in (A, B))
    assert kernel_distance(A[:40], B) == pytest.approx(functions.poly_mmd(a, b).item(), rel=1e-9)


def test_kernel_distance_has_no_bias():
    """Of small sets of one kind it is 0 on average, where a Fréchet distance is far above."""
    draws = [RNG.normal(size=(2, 10, 3)) for _ in range(2000)]
    values = np.array([kernel_distance(*draw) for draw in draws])
    assert abs(values.mean()) < 4 * values.std() / len(values) ** 0.5
    assert min(frechet_distance(*draw) for draw in draws[:100]) > 0.05


def test_inception_score_by_hand():
    sure = np.array([[50.0, 0, 0], [0, 50, 0], [0, 0, 50]])
    assert inception_score(sure) == pytest.approx(3)
    assert inception_score(np.zeros((5, 7))) == pytest.approx(1)
    # p = (3/4, 1/4) and (1/4, 3/4), whose mean is (1/2, 1/2): KL = 3/4 ln 3/2 + 1/4 ln 1/2.
    logits = np.log([[3.0, 1], [1, 3]])
    assert inception_score(logits) == pytest.approx(1.5**0.75 * 0.5**0.25)
    assert inception_score(logits + 1000) == pytest.approx(1.5**0.75 * 0.5**0.25)


def test_a_class_that_nobody_is_seen_as():
    assert inception_score(np.array([[2000.0, 0, -2000], [0, 2000, -2000]])) == pytest.approx(2)


def test_too_few():
    for measure in (frechet_distance, kernel_distance):
        with pytest.raises(InputError, match="two pictures or more of each set, not 1 and 60"):
            measure(A[:1], A)
    with pytest.raises(InputError, match="one picture or more"):
        inception_score(np.zeros((0, 3)))
