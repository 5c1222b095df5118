"""Where a run takes up: which settings must be those of the checkpoint, and how many steps are left on these ranks."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from recognition.config import TrainConfig, config_json
from recognition.errors import InputError
from recognition.provenance import NOT_HASHED
from recognition.training.schedule import step_counts
from recognition.training.state import Progressed

# What may change from one start of a run to the next, besides where and how fast it runs, what it shows and keeps.
# Batch size and accumulation: with the ranks they make the global batch, and a note says if that changed.
FREE = NOT_HASHED | {"batch_size", "gradient_acc", "max_steps", "compile", "gradient_checkpointing"}
FREE |= {"centers", "head_mode", "init", "class_map", "val_targets", "tiny"}


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


def contradictions(stored: Mapping[str, Any], cfg: TrainConfig) -> list[str]:
    """`key=now (the checkpoint has then)` for every setting that a resume cannot change."""
    now = json.loads(config_json(cfg))
    return [
        f"{key}={now[key]} (the checkpoint has {stored.get(key)})"
        for key in now
        if key not in FREE and now[key] != stored.get(key)
    ]


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
    total = first + max(0, int(cfg.num_image * cfg.num_epoch) - progressed.samples) // samples_a_step
    last = max(first, min(total, cfg.max_steps or total))
    return Plan(first, last, total, warmup, progressed.samples, samples_a_step)
