"""A moving average of the backbone's weights (Polyak and Juditsky 1992), to evaluate and save in its place."""

from __future__ import annotations

import copy

import torch
from torch import nn


class MovingAverage:
    """`module` holds the average: weights and BatchNorm statistics <- d * average + (1 - d) * current.

    d is `decay`, but n / (n + 9) while that is smaller, with n the updates so far: a short run then averages over its
    last tenth, instead of holding on to the weights that it started from.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.module = copy.deepcopy(module).eval().requires_grad_(False)
        self.decay, self.updates = decay, 0

    @torch.no_grad()
    def update(self, module: nn.Module) -> None:
        """Take in the weights of `module` after a step; whole numbers (counters) are copied."""
        decay = min(self.decay, self.updates / (self.updates + 9))
        averages, values = self.module.state_dict(), module.state_dict()
        floating = [key for key, value in values.items() if value.is_floating_point()]
        torch._foreach_lerp_([averages[key] for key in floating], [values[key] for key in floating], 1 - decay)
        for key in values.keys() - set(floating):
            averages[key].copy_(values[key])
        self.updates += 1
