"""Keyed permutations: bijective for every size, undone by the inverse, and as even as a shuffle."""

import numpy as np
import pytest

from recognition.permutation import MAX_SIZE, permutation_keys, permute, permuted_first, unpermute


@pytest.mark.parametrize("size", [*range(1, 70), 99, 100, 101, 4096, 10_007, 99_999])
def test_every_index_comes_out_once_and_the_inverse_undoes_it(size):
    keys = permutation_keys(2048, size)
    image = permute(np.arange(size), size, keys)
    assert image.dtype == np.int64
    assert np.array_equal(np.sort(image), np.arange(size))
    assert np.array_equal(unpermute(image, size, keys), np.arange(size))
    for count in (0, 1, size // 2, size):
        assert np.array_equal(permuted_first(count, size, keys), image[:count])


def test_single_positions_of_a_huge_range_need_no_list():
    keys = permutation_keys(1)
    indices = np.array([[0, 1], [MAX_SIZE // 2, MAX_SIZE - 1]])
    image = permute(indices, MAX_SIZE, keys)
    assert image.shape == indices.shape
    assert np.array_equal(unpermute(image, MAX_SIZE, keys), indices)
    assert np.unique(image).size == 4


def test_keys_depend_on_every_word_and_on_their_order():
    words = [(1, 2), (2, 1), (1, 3), (1, 2, 0), (0, 1, 2), (-1, 2), (2**63, 2)]
    assert len({permutation_keys(*word).tobytes() for word in words}) == len(words)
    assert np.array_equal(permutation_keys(1, 2), permutation_keys(1, 2))


@pytest.mark.parametrize("size", [5, 10, 23])
def test_pairs_of_neighbours_land_evenly(size):
    draws = 200 * size
    pairs = np.zeros((size, size))
    for draw in range(draws):
        first, second = permute(np.array([0, 1]), size, permutation_keys(7, draw))
        pairs[first, second] += 1
    expected = draws / (size * (size - 1))
    off_diagonal = pairs[~np.eye(size, dtype=bool)]
    chi_square = ((off_diagonal - expected) ** 2 / expected).sum()
    freedom = size * (size - 1) - 1
    assert pairs.trace() == 0
    assert abs(chi_square - freedom) < 4 * np.sqrt(2 * freedom)


def assert_even(counts):
    expected = counts.mean()
    chi_square, freedom = ((counts - expected) ** 2 / expected).sum(), counts.size - 1
    assert abs(chi_square - freedom) < 4 * np.sqrt(2 * freedom)


@pytest.mark.parametrize("size", [65_537, (1 << 19) + 1, 1_000_000])
def test_pairs_far_apart_land_evenly_in_large_sets(size):
    images = np.array([permute(np.array([0, 1, 300]), size, permutation_keys(3, draw)) for draw in range(6000)])
    cells = images * 10 // size
    for first, second in ((0, 1), (0, 2), (1, 2)):
        assert_even(np.bincount(cells[:, first] * 10 + cells[:, second], minlength=100))
    image = permute(np.arange(60_000), size, permutation_keys(4))
    for stride in (1, 2, 255, 256, 257, 1000):
        steps = (image[stride:] - image[:-stride]) % size
        assert_even(np.bincount(steps * 100 // size, minlength=100))


@pytest.mark.parametrize(("indices", "size"), [([5], 5), ([-1], 5), ([0], 0), ([0], MAX_SIZE + 1)])
def test_out_of_range_is_refused(indices, size):
    with pytest.raises(ValueError, match="size|indices"):
        permute(np.array(indices), size, permutation_keys(0))
