"""The Fréchet distance against the formula as it stands, and against what it must do."""

import numpy as np
import pytest
import scipy.linalg

from generation.quality.distances import frechet_distance
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


def test_float32_is_enough_to_come_in():
    a, b = vectors(0), vectors(1, shift=0.5)
    assert frechet_distance(a.astype(np.float32), b.astype(np.float32)) == pytest.approx(
        frechet_distance(a, b), rel=1e-4
    )


def test_one_picture_is_no_set():
    with pytest.raises(InputError, match="two pictures or more of each set, not 1 and 200"):
        frechet_distance(vectors(0, 1), vectors(1))
