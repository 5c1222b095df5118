"""Sampled classes: positives always, exact size, a new and even draw for every step and rank."""

import numpy as np
import pytest
import torch

from recognition.head.sampling import sample_classes


def draw(positives, num_local, rate, *, seed=2048, step=0, rank=0):
    return sample_classes(torch.tensor(positives, dtype=torch.int64), num_local, rate, seed=seed, step=step, rank=rank)


@pytest.mark.parametrize("num_local", [1, 2, 10, 1000])
@pytest.mark.parametrize("rate", [0.01, 0.3, 0.99, 1.0])
def test_size_order_and_positives(num_local, rate):
    positives = [num_local - 1, 0, 0]
    index = draw(positives, num_local, rate)
    assert index.dtype == torch.int64
    assert set(positives) <= set(index.tolist()) <= set(range(num_local))
    assert index.tolist() == sorted(set(index.tolist()))
    assert len(index) == max(len(set(positives)), max(1, int(rate * num_local)))


def test_positives_beyond_the_sample_are_all_of_it():
    assert draw([9, 2, 5, 2], 10, 0.2).tolist() == [2, 5, 9]


def test_an_empty_shard_samples_nothing():
    assert draw([], 0, 0.3).tolist() == []


def test_draws_repeat_for_the_same_key_and_differ_by_seed_step_and_rank():
    keys = [{}, {"seed": 1}, {"step": 1}, {"rank": 1}, {"step": 1, "rank": 1}, {"step": 2}]
    draws = [tuple(draw([], 1000, 0.1, **key).tolist()) for key in keys]
    assert len(set(draws)) == len(keys)
    assert draws[0] == tuple(draw([], 1000, 0.1).tolist())


def test_negatives_are_drawn_evenly():
    positives, num_local, steps = [3, 17, 40], 50, 1000
    counts = np.zeros(num_local)
    for step in range(steps):
        counts[draw(positives, num_local, 0.3, step=step).numpy()] += 1
    assert (counts[positives] == steps).all()
    negatives = np.delete(counts, positives)
    probability = (15 - 3) / 47
    deviations = (negatives - steps * probability) / np.sqrt(steps * probability * (1 - probability))
    assert np.abs(deviations).max() < 4.5
    assert 0.6 < deviations.std() < 1.4
