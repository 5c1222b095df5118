"""The factor that keeps gradients in fp16 above zero (Micikevicius et al. 2018, "Mixed Precision Training", 3.2).

torch's GradScaler would do, were its verdict not each rank's own: ranks that disagree once have other weights for ever.
Here the verdict comes from outside, where all ranks vote on it.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

INITIAL = 2.0**16
GROWTH_STEPS = 100
# A scale that nothing makes overflow would else grow to infinity, and stay there.
LARGEST = 2.0**24


class LossScale:
    """`scale` on the device: halved by each step that overflows, doubled after `GROWTH_STEPS` in a row that do not.

    Without `enabled` it is 1 and stays 1.
    """

    def __init__(self, enabled: bool, device: torch.device) -> None:
        self.enabled = enabled
        self.scale = torch.tensor(INITIAL if enabled else 1.0, device=device)
        self.good_steps = torch.zeros((), dtype=torch.int64, device=device)

    def scaled(self, loss: torch.Tensor) -> torch.Tensor:
        """The loss to go backward from."""
        return loss * self.scale if self.enabled else loss

    def unscale_(self, parameters: Iterable[nn.Parameter]) -> None:
        """Divide the gradients by the scale, in place."""
        grads = [parameter.grad for parameter in parameters if parameter.grad is not None]
        if self.enabled and grads:  # none where all of the backbone is frozen
            torch._foreach_mul_(grads, self.scale.reciprocal())

    def excuses(self, overflow: torch.Tensor) -> torch.Tensor:
        """Whether an overflow (bool) is the scale's: it is found by overflowing; at 1 and below others are to blame."""
        return overflow & (self.scale > 1) if self.enabled else torch.zeros_like(overflow)

    def update(self, overflow: torch.Tensor) -> None:
        """Take in whether the step overflowed, a number on the device that is the same on all ranks."""
        if not self.enabled:
            return
        grows = self.good_steps + 1 == GROWTH_STEPS
        grown = torch.where(grows, self.scale * 2, self.scale).clamp_max(LARGEST)
        self.scale = torch.where(overflow != 0, self.scale / 2, grown)
        self.good_steps = torch.where((overflow != 0) | grows, 0, self.good_steps + 1)

    def tensors(self) -> dict[str, torch.Tensor]:
        """The live tensors: what a resume needs, and writes to."""
        return {"scale": self.scale, "good_steps": self.good_steps}
