"""Whole runs that take a second on a CPU, and a record of what happened in each of their steps."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn

from recognition.config import TrainConfig, load_config
from recognition.data.loader import Batch
from recognition.training import assembly, loop
from recognition.training.step import TrainStep
from tests.conftest import CONFIGS

SMALL = ("tiny=True", "image_size=32", "embedding_size=32", "val_targets=[]", "frequent=1", "device=cpu")
PLAIN = ("export_onnx=False", "using_tensorboard=False")


def small(folder, *overrides: str) -> TrainConfig:
    """r_tiny at 32 px: ArcFace, SGD at 0.1, 20 synthetic identities, 4 of 25 steps of 8 images, no verification."""
    return load_config(CONFIGS / "base.py", [*SMALL, *PLAIN, f"output={folder / 'run'}", *overrides])


@dataclass(frozen=True)
class Taken:
    """One step as it was taken: its batches, what the network got of each, and the backbone and centres after it."""

    lr: float
    batches: list[Batch]
    inputs: list[Tensor]
    state: dict[str, Tensor]
    centers: Tensor

    @property
    def ids(self) -> Tensor:
        """Source indices of all its samples, in order."""
        return torch.cat([batch.ids_B for batch in self.batches])


def copied(module: nn.Module) -> dict[str, Tensor]:
    """The state dict, out of reach of later steps."""
    return {key: value.detach().clone() for key, value in module.state_dict().items()}


@contextmanager
def watched() -> Iterator[list[Taken]]:
    """Record every step that `train` takes inside the block."""
    history, inputs = [], []

    class WatchedStep(TrainStep):
        def __init__(self, *args, **options):
            super().__init__(*args, **options)
            self.replica.register_forward_pre_hook(lambda _, args: inputs.append(args[0].detach().clone()))

        def __call__(self, batches, *, lr, **options):
            inputs.clear()
            output = super().__call__(batches, lr=lr, **options)
            centers = self.head.weight.detach().clone()
            history.append(Taken(lr, batches, list(inputs), copied(self.backbone), centers))
            return output

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(assembly, "TrainStep", WatchedStep)
        yield history


@contextmanager
def unreported() -> Iterator[None]:
    """Runs inside the block end without final model and report, which take longer than their steps."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "finish_run", lambda *args, **options: None)
        yield


def moving_average(states: list[dict[str, Tensor]], decay: float) -> dict[str, Tensor]:
    """sum of w_i * state_i, w_i = (1 - d_i) * product of the later d_j, d_n = min(decay, n / (n + 9)), in float64."""
    decays = [min(decay, n / (n + 9)) for n in range(len(states))]
    weights = [1 - d for d in decays]
    for i in range(len(states)):
        for later in decays[i + 1 :]:
            weights[i] *= later
    return {key: sum(w * state[key].double() for w, state in zip(weights, states)) for key in states[0]}


def assert_same_weights(found: dict[str, Tensor], expected: dict[str, Tensor], **tolerance: float) -> None:
    """Equal keys, and equal numbers but in counters of batches."""
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        if not key.endswith("num_batches_tracked"):
            torch.testing.assert_close(
                found[key].double(), value.double(), **tolerance, msg=lambda m, k=key: f"{k}: {m}"
            )
