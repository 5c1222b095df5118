"""The learning rate as a pure function of the step."""

from __future__ import annotations

import math
from fractions import Fraction


def learning_rate(
    step: int, *, base: float, total_steps: int, warmup_steps: int = 0, schedule: str = "polynomial"
) -> float:
    """Learning rate of optimizer step `step` (from 0): linear warm-up from `base / warmup_steps`, then decay towards 0.

    With `p` the share of the steps after warm-up that have been taken, `polynomial` is `base * (1 - p)` and `cosine` is
    `base * (1 + cos(pi * p)) / 2` (Loshchilov and Hutter 2017, eq. 5); `constant` stays at `base`. ValueError for any
    other schedule.
    """
    if step < warmup_steps:
        return base * (step + 1) / warmup_steps
    progress = min(1.0, (step - warmup_steps) / max(1, total_steps - warmup_steps))
    if schedule == "cosine":
        return base * 0.5 * (1.0 + math.cos(math.pi * progress))
    if schedule == "polynomial":
        return base * (1.0 - progress)
    if schedule == "constant":
        return base
    raise ValueError(f"schedule {schedule!r} is not known")


def step_counts(
    *, num_samples: int, batch_size: int, world: int, gradient_acc: int, num_epoch: float, warmup_epoch: float
) -> tuple[int, int]:
    """Optimizer steps of the run and of its warm-up.

    Batches run across the ends of epochs, so nothing but the run's very last part-batch is left out.
    """
    global_batch = batch_size * world * gradient_acc
    return images_of(num_epoch, num_samples) // global_batch, images_of(warmup_epoch, num_samples) // global_batch


def images_of(epochs: float, num_samples: int) -> int:
    """Whole images in so many epochs of `num_samples`."""
    # As a fraction: 0.58 * 100 is a little less than 58 in floats.
    return int(Fraction(str(epochs)) * num_samples)
