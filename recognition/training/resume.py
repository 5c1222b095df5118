"""Where a run takes up: which settings must be those of the checkpoint, and how many steps are left on these ranks."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from recognition.config import TrainConfig, config_json
from recognition.errors import InputError
from recognition.training.schedule import step_counts
from recognition.training.state import Progressed

# What may change from one start of a run to the next: where and how fast it runs, what it shows and keeps. Batch size
# and accumulation may, too: their product with the ranks is the global batch, and a note says if that changed.
_FREE = """
    rec dali num_workers prefetch_batches data_timeout_s gradient_checkpointing centers head_mode
    batch_size gradient_acc max_steps compile device threads collective_timeout_s
    resume checkpoint_steps checkpoint_minutes checkpoint_keep checkpoint_keep_every checkpoint_keep_best
    checkpoint_error restart_limit requeue max_bad_steps spike_factor agreement_steps init class_map
    val_targets val_dir val_batch_size verbose frequent output using_tensorboard export_onnx save_all_states notes
    using_wandb wandb_key wandb_entity wandb_project suffix_run_name wandb_log_all save_artifacts wandb_resume tiny
"""
FREE = frozenset(_FREE.split())


@dataclass(frozen=True)
class Plan:
    """Steps [first, last) of a schedule of `total`, `warmup` of them warm-up; samples seen before, and in each step."""

    first: int
    last: int
    total: int
    warmup: int
    samples: int
    samples_a_step: int

    def progressed(self, done: int, best: float | None) -> Progressed:
        """How far the run is after `done` steps of the schedule."""
        return Progressed(done, self.samples + (done - self.first) * self.samples_a_step, best)


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
