"""Initial class centres: normal numbers that depend on (seed, class) alone."""

import math

import numpy as np
import pytest
import torch

from recognition.head.initial import INITIAL_STD, initial_rows
from recognition.head.shards import class_range


def initial_centers(first, count, embedding_size, *, seed):
    return initial_rows(torch.arange(first, first + count), embedding_size, seed=seed)


@pytest.mark.parametrize("embedding_size", [1, 13, 512])
@pytest.mark.parametrize("world", [2, 3, 4, 128])
def test_any_number_of_ranks_starts_from_the_same_centres(world, embedding_size):
    whole = initial_centers(0, 101, embedding_size, seed=2048)
    shards = [initial_centers(*class_range(101, world, rank), embedding_size, seed=2048) for rank in range(world)]
    assert torch.equal(torch.cat(shards), whole)


def test_blocks_do_not_show():
    whole = initial_centers(0, 2000, 512, seed=1)
    assert torch.equal(initial_centers(1777, 1, 512, seed=1), whole[1777:1778])


def test_rows_differ_and_the_seed_matters():
    whole = initial_centers(0, 5000, 8, seed=0)
    assert np.unique(whole.numpy(), axis=0).shape[0] == 5000
    assert not torch.isclose(whole, initial_centers(0, 5000, 8, seed=1), rtol=1e-3).all(1).any()


def test_the_distribution_is_normal():
    numbers = initial_centers(10**9, 2000, 250, seed=5).double().flatten() / INITIAL_STD
    count = numbers.numel()
    assert abs(numbers.mean()) < 4 / math.sqrt(count)
    assert abs(numbers.var() - 1) < 4 * math.sqrt(2 / count)
    # Kolmogorov-Smirnov at the 0.1 % level.
    cdf = 0.5 * (1 + torch.erf(numbers.sort().values / math.sqrt(2)))
    assert (cdf - (torch.arange(count) + 0.5) / count).abs().max() < 1.95 / math.sqrt(count)
    rows = numbers.reshape(2000, 250)
    assert (rows @ rows.t() / 250 - torch.eye(2000)).abs().max() < 7 / math.sqrt(250)
