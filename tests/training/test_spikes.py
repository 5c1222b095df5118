"""Loss spikes against a brute-force reading of the rule, and the samples that a spike names."""

import math

import numpy as np
import pytest
import torch

from recognition.data.loader import Loader
from recognition.data.sources import SyntheticSource
from recognition.runtime import Runtime
from recognition.training.spikes import SpikeLog, stream_ids


def no_ids():
    return [1, 2]


def spikes_of(losses, factor=5.0, **options):
    log = SpikeLog(factor, **options)
    return [step for step, loss in enumerate(losses) if log.note(step, loss, no_ids)]


def brute_force(losses, factor, window, at_least):
    found = []
    for step, loss in enumerate(losses):
        before = np.array(losses[:step], np.float64)
        before = before[np.isfinite(before)][-window:]
        if len(before) >= at_least and np.isfinite(loss) and np.median(before) > 0:
            found += [step] * bool(loss > factor * np.median(before))
    return found


@pytest.mark.parametrize("seed", range(20))
def test_spikes_are_those_of_the_rule(seed):
    rng = np.random.default_rng(seed)
    losses = 10 * np.exp(rng.normal(size=400) * rng.choice([0.2, 0.8, 1.5])) - rng.choice([0, 5])
    losses[rng.random(400) < 0.1] = rng.choice([np.nan, np.inf, -np.inf])
    losses[rng.random(400) < 0.05] *= 20
    factor, window, at_least = rng.choice([1.5, 3.0, 5.0]), int(rng.integers(10, 120)), int(rng.integers(1, 10))
    expected = brute_force(losses.tolist(), factor, window, at_least)
    assert spikes_of(losses.tolist(), factor, window=window, at_least=at_least) == expected
    assert expected


def test_none_before_there_is_a_median_and_none_at_factor_0():
    assert spikes_of([1.0] * 19 + [100.0]) == []
    assert spikes_of([1.0] * 20 + [100.0]) == [20]
    assert spikes_of([1.0] * 20 + [100.0], factor=0.0) == []


def test_a_loss_below_zero_has_no_spikes():
    # Five times -1 is below every loss near -1.
    assert spikes_of([-1.0] * 30 + [-0.9, 3.0]) == []


def test_one_spike_does_not_hide_the_next():
    assert spikes_of([1.0] * 30 + [1e30, 5.1, 4.9, 5.1]) == [30, 31, 33]


def test_a_plateau_is_told_until_it_fills_half_of_the_window():
    assert spikes_of([1.0] * 100 + [50.0] * 100) == list(range(100, 150))


def test_what_is_not_finite_is_no_spike_and_leaves_no_trace():
    calm = [1.0] * 25
    assert spikes_of([*calm, *[math.nan, math.inf, -math.inf] * 40, 6.0]) == [145]


def test_the_state_carries_on():
    losses = [*np.random.default_rng(1).lognormal(size=200)]
    first = SpikeLog(3.0)
    for step, loss in enumerate(losses[:90]):
        first.note(step, loss, no_ids)
    second = SpikeLog(3.0, losses=list(first.losses))
    found = [step for step, loss in enumerate(losses[90:], 90) if second.note(step, loss, no_ids)]
    assert found == [step for step in spikes_of(losses, 3.0) if step >= 90]
    assert found


def test_the_line_names_the_samples_and_the_row_has_all_of_them():
    log, calls = SpikeLog(5.0), []
    for step in range(20):
        log.note(step, 2.0, lambda: calls.append("called"))
    assert calls == []
    spike = log.note(20, 11.0, lambda: np.arange(1000, 1100))
    assert str(spike) == (
        "step 20: loss 11 is 5.5 times the median 2 of the steps before; its samples: "
        + ", ".join(map(str, range(1000, 1064)))
        + " and 36 more"
    )
    assert spike.row == {"loss": 11.0, "median": 2.0, "ids": list(range(1000, 1100))}
    assert str(log.note(21, 11.0, no_ids)).endswith("its samples: 1, 2")


@pytest.mark.parametrize("world", [1, 3])
@pytest.mark.parametrize("gradient_acc", [1, 2])
def test_samples_of_a_step_are_those_that_the_loaders_of_all_ranks_give(world, gradient_acc):
    source = SyntheticSource(num_classes=5, num_image=40, image_size=8)
    options = {"batch_size": 4, "seed": 3, "num_steps": 6 * gradient_acc, "image_size": 8, "num_workers": 0}
    loaders = [Loader(source, runtime=Runtime(rank, world), start_position=7, **options) for rank in range(world)]
    parts = [torch.cat([batch.ids_B for batch in batches]) for batches in zip(*loaders)]
    count = 4 * world * gradient_acc
    for step in range(6):
        expected = torch.cat(parts[step * gradient_acc : (step + 1) * gradient_acc]).tolist()
        assert stream_ids(7 + step * count, count, num_samples=40, seed=3) == expected
