"""All that a LoRA run must find again to go on exactly: adapter, optimizer, scale, votes, first look, untold steps."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from torch import Tensor

from generation.lora.config import LoraConfig
from generation.lora.step import LoraStep, StepOutput
from generation.lora.watch import Watch
from recognition.checkpoint.layout import REPLICATED, STATE
from recognition.checkpoint.opening import Checkpoint
from recognition.config import config_json
from recognition.errors import InputError
from recognition.training.plan import Progressed
from recognition.training.state import fill_tensors, optimizer_memory
from recognition.training.vote import Agreed

ADAPTER = "adapter."


def samples_a_step(document: Mapping[str, Any]) -> int:
    """How many samples a step had, on all ranks, when this document of a checkpoint was written."""
    config = document["config"]
    return document["world"] * config["batch_size"] * config["gradient_acc"]


@dataclass(frozen=True, eq=False)
class LoraState:
    """What `recognition.training.saving.Saving` stores. Order, times and noise are functions of the position alone."""

    take_step: LoraStep
    watch: Watch
    cfg: LoraConfig
    # By the key that names it, the hash of what is in it: a file may be another one under its old name.
    weights: Mapping[str, str] = field(default_factory=dict)
    # The steps since the last line of the log, which tells their means.
    since: list[StepOutput] = field(default_factory=list)

    def replicated(self) -> dict[str, Tensor]:
        """The live tensors, equal on all ranks, by name; a restore writes into them."""
        step = self.take_step
        tensors: dict[str, Tensor] = {ADAPTER + name: parameter for name, parameter in step.parameters.items()}
        for name, parameter in step.parameters.items():
            tensors |= optimizer_memory(step.optimizer, ADAPTER + name, parameter)
        tensors |= {f"loss_scale.{name}": tensor for name, tensor in step.loss_scale.tensors().items()}
        tensors |= {f"vote.{name}": tensor for name, tensor in step.vote.tensors().items()}
        return {name: tensor.detach() for name, tensor in tensors.items()}

    def own(self) -> dict[str, Tensor]:
        """Nothing is a rank's alone."""
        return {}

    def document(self, progressed: Progressed) -> dict[str, Any]:
        """What people and a resume read first."""
        return {
            **asdict(progressed),
            "world": self.take_step.runtime.world,
            "first_look": self.watch.first,
            "weights": dict(self.weights),
            "since": [asdict(output) for output in self.since],
            "config": json.loads(config_json(self.cfg)),
        }

    def restore(self, checkpoint: Checkpoint) -> None:
        """Take up where `checkpoint` was written, on any number of ranks.

        InputError when it lacks what is needed, or was trained with other models.
        """
        document = checkpoint.document(STATE)
        for key, digest in document["weights"].items():
            if self.weights.get(key, digest) != digest:
                raise InputError(
                    f"{key}={getattr(self.cfg, key)} holds something else now than when {checkpoint.path} was written; "
                    "put the old one back, or start anew with resume=False"
                )
        fill_tensors(self.replicated(), checkpoint.tensor_file(REPLICATED))
        self.watch.recall(document["first_look"])
        self.since[:] = [StepOutput(**{**row, "agreed": Agreed(*row["agreed"])}) for row in document["since"]]
