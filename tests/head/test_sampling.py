"""Drawn classes: distinct, even, new for every step and rank, found again by the inverse; positives in the tail."""

import numpy as np
import pytest
import torch

from recognition.head.sampling import Draw, tail_places

CPU = torch.device("cpu")


def draw(num_local, num_drawn, *, seed=2048, step=0, rank=0):
    return Draw(num_local, num_drawn, seed=seed, step=step, rank=rank, device=CPU)


@pytest.mark.parametrize(("num_local", "num_drawn"), [(2, 1), (10, 3), (1000, 1), (1000, 999), (10**7, 1000)])
def test_drawn_classes_are_distinct_and_each_label_finds_its_slot(num_local, num_drawn):
    found = draw(num_local, num_drawn)
    classes_S = found.on(CPU)
    assert classes_S.dtype == torch.int64
    assert len(set(classes_S.tolist())) == num_drawn
    assert classes_S.min() >= 0
    assert classes_S.max() < num_local
    assert torch.equal(found.slots(classes_S), torch.arange(num_drawn))
    others = torch.tensor(sorted({*range(min(num_local, 2000))} - set(classes_S.tolist())) + [-1])
    assert (found.slots(others) == -1).all()


def test_draws_repeat_for_the_same_key_and_differ_by_seed_step_and_rank():
    keys = [{}, {"seed": 1}, {"step": 1}, {"rank": 1}, {"step": 1, "rank": 1}, {"step": 2}]
    draws = [tuple(draw(1000, 100, **key).on(CPU).tolist()) for key in keys]
    assert len(set(draws)) == len(keys)
    assert draws[0] == tuple(draw(1000, 100).on(CPU).tolist())


def test_classes_and_pairs_of_classes_are_drawn_evenly():
    num_local, num_drawn, steps = 30, 9, 4000
    is_drawn = np.zeros((steps, num_local))
    for step in range(steps):
        is_drawn[step, draw(num_local, num_drawn, step=step).on(CPU).numpy()] = 1
    p = num_drawn / num_local
    deviations = (is_drawn.sum(0) - steps * p) / np.sqrt(steps * p * (1 - p))
    assert np.abs(deviations).max() < 4.5
    assert 0.6 < deviations.std() < 1.4
    pairs = (is_drawn.T @ is_drawn)[np.triu_indices(num_local, 1)]
    q = p * (num_drawn - 1) / (num_local - 1)
    deviations = (pairs - steps * q) / np.sqrt(steps * q * (1 - q))
    assert np.abs(deviations).max() < 5
    assert 0.85 < deviations.std() < 1.15


def test_equal_labels_share_the_place_of_the_first_and_none_has_no_place():
    labels = torch.tensor([7, -1, 3, 7, 3, 3, 9, -1])
    place_N, used_N = tail_places(labels)
    assert used_N.tolist() == [True, False, True, False, False, False, True, False]
    assert [place_N[n].item() for n in (0, 2, 3, 4, 5, 6)] == [0, 2, 0, 2, 2, 6]


def test_places_of_earlier_labels_stay_when_more_come():
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(-1, 9, (40,), generator=generator)
    whole_place, whole_used = tail_places(labels)
    part_place, part_used = tail_places(labels[:17])
    assert torch.equal(whole_used[:17], part_used)
    good = labels[:17] >= 0
    assert torch.equal(whole_place[:17][good], part_place[good])
    for place, label in zip(whole_place[labels >= 0], labels[labels >= 0]):
        assert labels[place] == label
        assert whole_used[place]
