"""How far a run is, and the steps that are left to it on so many ranks."""

from __future__ import annotations

from dataclasses import dataclass

from recognition.config import TrainConfig
from recognition.data.substitutes import BadRecord
from recognition.errors import InputError
from recognition.training.schedule import images_of, step_counts


@dataclass(frozen=True)
class Progressed:
    """How far a run has come: steps taken, samples of the stream seen, best mean accuracy so far, latest losses.

    `bad_records`: those that could not be read up to here, on any rank.

    `step` counts every step of the run and only grows; the step of the schedule follows from `samples`.
    """

    step: int = 0
    samples: int = 0
    best: float | None = None
    losses: tuple[float, ...] = ()
    bad_records: tuple[BadRecord, ...] = ()


@dataclass(frozen=True)
class Plan:
    """Steps [first, last) of a schedule of `total`, `warmup` of them warm-up; samples seen before, and in each step."""

    first: int
    last: int
    total: int
    warmup: int
    samples: int
    samples_a_step: int

    def samples_after(self, done: int) -> int:
        """Samples of the stream seen after `done` steps of the schedule."""
        return self.samples + (done - self.first) * self.samples_a_step

    def samples_left(self, done: int) -> int:
        """Samples of the steps that are left after `done` steps of the schedule."""
        return (self.last - done) * self.samples_a_step


def plan_steps(cfg: TrainConfig, world: int, progressed: Progressed) -> Plan:
    """The steps still to take; with another global batch than before, steps are counted anew from the samples seen.

    InputError when the whole run has not one step.
    """
    total, warmup = step_counts(
        num_samples=cfg.num_image,
        batch_size=cfg.batch_size,
        world=world,
        gradient_acc=cfg.gradient_acc,
        num_epoch=cfg.num_epoch,
        warmup_epoch=cfg.warmup_epoch,
    )
    samples_a_step = cfg.batch_size * world * cfg.gradient_acc
    if total == 0:
        raise InputError(
            f"{cfg.num_image} images for {cfg.num_epoch:g} epochs do not fill one global batch of {samples_a_step}; "
            f"lower batch_size or raise num_epoch"
        )
    first = progressed.samples // samples_a_step
    # Samples that an earlier global batch left over within the first step are missing at the end.
    total = first + max(0, images_of(cfg.num_epoch, cfg.num_image) - progressed.samples) // samples_a_step
    last = max(first, min(total, cfg.max_steps or total))
    return Plan(first, last, total, warmup, progressed.samples, samples_a_step)
