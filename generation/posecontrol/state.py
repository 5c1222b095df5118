"""All that a pose-control run must find again to go on exactly, and how it lies in a checkpoint.

The order of the pairs is a function of the seed and the epoch, and nothing else in a step is drawn: no random state.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import astuple, dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from generation.posecontrol.checkpoint import FORMAT, PoseCheckpoint
from generation.posecontrol.config import PoseControlConfig
from generation.posecontrol.step import Losses, PoseControlStep, StepOutput
from recognition.training.agreement import require_agreement
from recognition.weights import write_torch_file


@dataclass(eq=False)
class PoseControlState:
    """Where a run is: epochs done, steps done in the one that has begun, sums over its pairs, and what came of all."""

    take_step: PoseControlStep
    cfg: PoseControlConfig
    split: Mapping[str, Any]
    data_sha256: str
    epoch: int = 0
    step_in_epoch: int = 0
    sums: list[float] = field(default_factory=lambda: [0.0] * 5)  # the losses times their pairs; pairs
    best_val_loss: float = float("inf")
    history: dict[str, list[dict[str, float]]] = field(default_factory=lambda: {"train": [], "val": []})

    def count(self, output: StepOutput, pairs: int) -> None:
        """Take in a step; one that was skipped counts as a step, and not in the means."""
        self.step_in_epoch += 1
        if not output.agreed.is_skipped:
            new = [*(value * pairs for value in astuple(output.losses)), pairs]
            self.sums = [a + b for a, b in zip(self.sums, new)]

    def means(self) -> Losses:
        """Means over the pairs that counted; NaN where none did."""
        *sums, pairs = self.sums
        return Losses(*(value / pairs if pairs else float("nan") for value in sums))

    def end_epoch(self, train: dict[str, float], val: dict[str, float]) -> bool:
        """Begin the next epoch; True where this one's validation loss is the least so far."""
        self.history["train"].append(train)
        self.history["val"].append(val)
        self.epoch, self.step_in_epoch, self.sums = self.epoch + 1, 0, [0.0] * 5
        is_best = val["loss"] < self.best_val_loss
        self.best_val_loss = min(self.best_val_loss, val["loss"])
        return is_best

    def restore(self, checkpoint: PoseCheckpoint) -> None:
        """Go on exactly where `checkpoint` was written; its weights are loaded already."""
        step = self.take_step
        step.optimizer.load_state_dict(checkpoint["optimizer_state_dict"])
        for group in step.optimizer.param_groups:
            group["weight_decay"] = self.cfg.weight_decay  # as the command line has it, like the rate
        for name, tensor in _small_tensors(step).items():
            tensor.copy_(checkpoint["scaler_state_dict"][name])
        self.epoch, self.step_in_epoch = checkpoint["epoch"], checkpoint["step_in_epoch"]
        self.sums, self.best_val_loss = list(checkpoint["sums"]), checkpoint["best_val_loss"]
        self.history = {
            "train": copy.deepcopy(checkpoint["train_metrics_history"]),
            "val": copy.deepcopy(checkpoint["val_metrics_history"]),
        }

    def content(self) -> dict[str, Any]:
        """What a checkpoint holds (checkpoint.KEYS)."""
        step, cfg = self.take_step, self.cfg
        return {
            "format": FORMAT,
            "epoch": self.epoch,
            "step_in_epoch": self.step_in_epoch,
            "sums": self.sums,
            "model_state_dict": step.model.state_dict(),
            "optimizer_state_dict": step.optimizer.state_dict(),
            "scheduler_state_dict": {"schedule": "cosine", "base_lr": cfg.lr, "T_max": cfg.epochs, "epoch": self.epoch},
            "scaler_state_dict": {name: tensor.clone() for name, tensor in _small_tensors(step).items()},
            "best_val_loss": self.best_val_loss,
            "train_metrics_history": self.history["train"],
            "val_metrics_history": self.history["val"],
            "args": cfg.as_plain(),
            "encoder": step.model.encoder.facts,
            "trainable": sorted(step.parameters),
            "split": dict(self.split),
            "data_sha256": self.data_sha256,
            "steps_an_epoch": [cfg.batch_size, step.runtime.world, cfg.gradient_accumulation_steps],
        }


def save_checkpoint(path: Path, state: PoseControlState) -> None:
    """Write a checkpoint, whole or not at all; InputError or OSError where there is no room."""
    write_torch_file(path, state.content())


def require_equal_ranks(state: PoseControlState) -> None:
    """ReplicasDiffer on all ranks where the weights of any are not those of the others (collective)."""
    tensors = dict(state.take_step.model.named_parameters()) | dict(state.take_step.model.named_buffers())
    require_agreement(
        {name: tensor.detach() for name, tensor in tensors.items()}, state.take_step.runtime, step=state.step_in_epoch
    )


def _small_tensors(step: PoseControlStep) -> dict[str, Tensor]:
    scale = {f"loss_scale.{name}": tensor for name, tensor in step.loss_scale.tensors().items()}
    return scale | {f"vote.{name}": tensor for name, tensor in step.vote.tensors().items()}
