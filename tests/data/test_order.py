"""The order of samples: every sample once an epoch, for any number of ranks, from any step."""

import numpy as np
import pytest
from scipy import stats

from recognition.data.order import batch_positions, sample_ids

WF42M = 42_474_557


def stream(start, stop, *, num_samples, seed=0):
    return sample_ids(np.arange(start, stop), num_samples=num_samples, seed=seed)


def test_each_epoch_is_a_permutation_for_every_size():
    for n in range(1, 2001):
        assert (np.sort(stream(n, 2 * n, num_samples=n)) == np.arange(n)).all(), n


def test_no_sample_comes_twice_in_a_long_stretch_of_a_large_epoch():
    ids = stream(3 * WF42M + 5_000_000, 3 * WF42M + 5_300_000, num_samples=WF42M)
    assert len(np.unique(ids)) == 300_000
    assert ids.min() >= 0
    assert ids.max() < WF42M


@pytest.mark.parametrize("num_samples", [997, 5_179_510])
def test_order_looks_random(num_samples):
    ids = np.concatenate([stream(e * num_samples, e * num_samples + 900, num_samples=num_samples) for e in range(40)])
    places = np.tile(np.arange(900), 40)
    assert stats.kstest(ids / num_samples, "uniform").pvalue > 1e-3
    assert abs(np.corrcoef(ids, places)[0, 1]) < 0.02
    assert abs(np.corrcoef(ids[1:], ids[:-1])[0, 1]) < 0.02
    # Neighbours in the data are no likelier to follow each other than chance has it: 39,999 steps at 1 / N each way.
    assert (np.abs(np.diff(ids)) == 1).sum() <= stats.poisson.ppf(1 - 1e-4, 2 * 40_000 / num_samples)


def test_each_sample_is_equally_likely_at_each_place_of_a_small_epoch():
    counts = np.zeros((7, 7))
    for epoch in range(2000):
        np.add.at(counts, (np.arange(7), stream(7 * epoch, 7 * epoch + 7, num_samples=7)), 1)
    assert stats.chisquare(counts.ravel()).pvalue > 1e-3


def test_epochs_and_seeds_differ():
    first = stream(0, 500, num_samples=500)
    assert (first == stream(500, 1000, num_samples=500)).mean() < 0.05
    assert (first == stream(0, 500, num_samples=500, seed=1)).mean() < 0.05


@pytest.mark.parametrize("world", [1, 2, 3, 4])
def test_ranks_together_see_each_sample_once_an_epoch(world):
    num_samples, batch, epochs = 101, 5, 3
    seen = []
    for step in range(epochs * num_samples // (batch * world) + 1):
        for rank in range(world):
            seen.append(batch_positions(step, batch_size=batch, rank=rank, world=world))
    ids = sample_ids(np.concatenate(seen)[: epochs * num_samples], num_samples=num_samples, seed=4)
    for epoch in ids.reshape(epochs, num_samples):
        assert (np.sort(epoch) == np.arange(num_samples)).all()


def test_global_batch_does_not_depend_on_the_number_of_ranks():
    for step in (0, 7, 10**9):
        whole = batch_positions(step, batch_size=12)
        for world in (2, 3, 4, 6):
            parts = [batch_positions(step, batch_size=12 // world, rank=r, world=world) for r in range(world)]
            assert (np.concatenate(parts) == whole).all()


def test_order_stays_what_it_was():
    # A run that was stopped under an older version must go on with the samples it has not seen.
    assert stream(0, 8, num_samples=24, seed=2048).tolist() == GOLDEN_24
    assert stream(10**9, 10**9 + 4, num_samples=WF42M, seed=2048).tolist() == GOLDEN_WF42M


GOLDEN_24 = [21, 10, 1, 6, 13, 14, 7, 11]
GOLDEN_WF42M = [7095686, 39313003, 13848783, 909063]
