"""All that a StarGAN run must find again to go on exactly, and how it lies in a checkpoint.

Order, flips, targets and the penalty's shares are functions of the seed, the step and the rank: no random state.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from generation.stargan.checkpoint import FORMAT, StarGANCheckpoint
from generation.stargan.config import StarGANConfig
from generation.stargan.pictures import TEST, AttributePictures
from generation.stargan.step import StarGANStep, StepOutput
from generation.torch_checkpoint import fill
from recognition.training.agreement import require_agreement
from recognition.weights import write_torch_file


@dataclass(eq=False)
class StarGANState:
    """Where a run is: epochs done, steps done in the one that has begun, sums of its losses, and what came of all."""

    take_step: StarGANStep
    cfg: StarGANConfig
    pictures: AttributePictures
    epoch: int = 0
    step_in_epoch: int = 0
    sums: dict[str, list[float]] = field(default_factory=dict)  # of each loss: its sum, and over how many steps
    history: list[dict[str, Any]] = field(default_factory=list)

    def count(self, output: StepOutput) -> None:
        """Take in a step; what was skipped counts as a step, and not in the means."""
        self.step_in_epoch += 1
        for update in (output.discriminator, output.generator):
            if update is not None and not update.agreed.is_skipped:
                for name, value in update.losses.items():
                    total, count = self.sums.get(name, (0.0, 0))
                    self.sums[name] = [total + value, count + 1]

    def means(self) -> dict[str, float]:
        """Means over the steps of the epoch."""
        return {name: total / count for name, (total, count) in self.sums.items()}

    def end_epoch(self) -> None:
        """Begin the next epoch, with a row of the means of the one that has ended."""
        self.history.append({"epoch": self.epoch + 1, **self.means()})
        self.epoch, self.step_in_epoch, self.sums = self.epoch + 1, 0, {}

    def restore(self, checkpoint: StarGANCheckpoint) -> None:
        """Go on exactly where `checkpoint` was written."""
        step = self.take_step
        fill(step.generator, checkpoint["generator"], checkpoint.path)
        fill(step.average.module, checkpoint["generator_ema"], checkpoint.path)
        fill(step.discriminator, checkpoint["discriminator"], checkpoint.path)
        step.average.updates = torch.tensor(checkpoint["ema_updates"], device=step.average.updates.device)
        for name, player in (("g", step.g), ("d", step.d)):
            player.optimizer.load_state_dict(checkpoint[f"{name}_optimizer"])
            for group in player.optimizer.param_groups:
                group["betas"] = (self.cfg.beta1, self.cfg.beta2)  # as the command line has them, like the rates
            for key, tensor in player.small_tensors().items():
                tensor.copy_(checkpoint[f"{name}_small"][key])
        self.epoch, self.step_in_epoch = checkpoint["epoch"], checkpoint["step_in_epoch"]
        self.sums, self.history = copy.deepcopy(checkpoint["sums"]), copy.deepcopy(checkpoint["history"])

    def content(self, *, steps_an_epoch: int) -> dict[str, Any]:
        """What a checkpoint holds (checkpoint.KEYS)."""
        step = self.take_step
        players: dict[str, Any] = {}
        for name, player in (("g", step.g), ("d", step.d)):
            players[f"{name}_optimizer"] = player.optimizer.state_dict()
            players[f"{name}_small"] = {key: tensor.clone() for key, tensor in player.small_tensors().items()}
        return {
            "format": FORMAT,
            "epoch": self.epoch,
            "step_in_epoch": self.step_in_epoch,
            "sums": self.sums,
            "history": self.history,
            "settings": self.cfg.as_plain(),
            "attributes": list(self.pictures.names),
            "exclusive": self.pictures.exclusive,
            "data_sha256": self.pictures.sha256,
            "test_sha256": self.pictures.split(TEST).files_sha256(),
            "steps_an_epoch": [steps_an_epoch, self.cfg.batch_size, step.runtime.world],
            "generator": step.generator.state_dict(),
            "generator_ema": step.average.module.state_dict(),
            "ema_updates": int(step.average.updates),
            "discriminator": step.discriminator.state_dict(),
            **players,
        }


def save_checkpoint(path: Path, state: StarGANState, *, steps_an_epoch: int) -> None:
    """Write a checkpoint, whole or not at all; InputError or OSError where there is no room."""
    write_torch_file(path, state.content(steps_an_epoch=steps_an_epoch))


def require_equal_ranks(state: StarGANState) -> None:
    """ReplicasDiffer on all ranks where the weights of any are not those of the others (collective)."""
    step = state.take_step
    tensors: Mapping[str, torch.Tensor] = {
        f"{name}.{key}": tensor.detach()
        for name, module in (("generator", step.generator), ("discriminator", step.discriminator))
        for key, tensor in module.state_dict().items()
    }
    require_agreement(dict(tensors), step.runtime, step=state.step_in_epoch)
