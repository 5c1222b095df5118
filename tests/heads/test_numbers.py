"""Random numbers against splitmix64 in Python's integers, and curves against SciPy."""

import numpy as np
import pytest
from scipy.interpolate import CubicHermiteSpline

from recognition.heads.curves import bump, step, through, wave
from recognition.heads.numbers import Numbers, random_words
from recognition.permutation import permutation_keys

MASK = (1 << 64) - 1
KNOTS = np.array([-1.17, -0.5, -0.1, 0.3, 0.45, 1.2])


def splitmix64(state: int, count: int) -> list[int]:
    """The words of the generator from this state on, in Python's integers."""
    words = []
    for _ in range(count):
        word = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        word = ((word ^ (word >> 27)) * 0x94D049BB133111EB) & MASK
        words.append(word ^ (word >> 31))
        state = (state + 0x9E3779B97F4A7C15) & MASK
    return words


def test_words_are_those_of_splitmix64():
    key = int(permutation_keys(3, 1, 4)[0])
    assert random_words(20, 3, 1, 4).tolist() == splitmix64(key, 20)
    assert random_words(20, 3, 4, 1).tolist() != random_words(20, 3, 1, 4).tolist()


def test_numbers_lie_where_they_are_asked_for():
    shares = [Numbers(0, stream).between(2, 3) for stream in range(600)]
    assert 2 <= min(shares) < 2.03
    assert 2.97 < max(shares) < 3
    assert np.mean(shares) == pytest.approx(2.5, abs=4 * np.sqrt(1 / 12 / 600))
    bells = [Numbers(1, stream).near(5, 0.3) for stream in range(600)]
    assert max(abs(np.array(bells) - 5)) <= 0.3
    # The deviation of a mean of three uniform numbers in [-1, 1] is 1/3.
    assert np.std(bells) == pytest.approx(0.1, abs=0.01)
    assert {Numbers(2, stream).one_of("abc") for stream in range(60)} == set("abc")
    assert sum(Numbers(3, stream).chance(0.2) for stream in range(600)) == pytest.approx(120, abs=40)


def test_a_curve_through_knots_is_scipys_with_three_point_slopes():
    heights = np.random.default_rng(0).normal(size=(3, len(KNOTS)))
    at = np.linspace(-1.17, 1.2, 201)
    slopes = np.gradient(heights, KNOTS, axis=1)
    slopes[:, [0, -1]] = 0
    expected = CubicHermiteSpline(KNOTS, heights, slopes, axis=1)(at)
    np.testing.assert_allclose(through(KNOTS, heights, at), expected, atol=3e-6)
    np.testing.assert_allclose(through(KNOTS, heights[0], at), expected[0], atol=3e-6)
    outside = through(KNOTS, heights[0], np.array([-9, 9], np.float32))
    np.testing.assert_allclose(outside, heights[0, [0, -1]], rtol=1e-6)


def test_steps_bumps_and_waves():
    at = np.array([-1, 0, 0.25, 0.5, 1, 2])
    np.testing.assert_allclose(step(at, 0, 1), [0, 0, 0.15625, 0.5, 1, 1])
    np.testing.assert_allclose(step(at, 1, 0), 1 - step(at, 0, 1))
    np.testing.assert_allclose(bump(at * at), [0, 1, 0.87890625, 0.5625, 0, 0])
    np.testing.assert_allclose(wave(np.array([0, 0.25, 0.5, 0.75, 1, -0.75])), [0, 1, 0, -1, 0, 1], atol=1e-12)
