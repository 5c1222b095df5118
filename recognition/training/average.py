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
        self.decay = decay
        self.updates = torch.zeros((), dtype=torch.int64, device=next(module.parameters()).device)

    @torch.no_grad()
    def update(self, module: nn.Module, skip: torch.Tensor | None = None) -> None:
        """Take in the weights of `module` after a step, unless `skip`, a number on the device, is not 0.

        Whole numbers (counters) are copied.
        """
        count = self.updates.to(torch.float64)
        weight = 1 - torch.clamp(count / (count + 9), max=self.decay)
        taken = torch.ones_like(self.updates) if skip is None else (skip == 0).to(self.updates.dtype)
        averages, values = self.module.state_dict(), module.state_dict()
        floating = [key for key, value in values.items() if value.is_floating_point()]
        weight = (weight * taken).float()
        torch._foreach_lerp_(
            [averages[key] for key in floating], [values[key] for key in floating], [weight] * len(floating)
        )
        for key in values.keys() - set(floating):
            averages[key].copy_(values[key])
        self.updates = self.updates + taken
