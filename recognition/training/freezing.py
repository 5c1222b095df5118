"""Parts of the backbone that stay as they are until a step of the run: weights and BatchNorm statistics."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from recognition.training.parts import is_part_of, require_parts


def thaw_step(
    thaw_epoch: float | None, *, num_samples: int, global_batch: int, first: int = 0, seen: int = 0
) -> int | None:
    """The first step that begins at `thaw_epoch` or later, None for never; `global_batch` is the images of a step.

    Step `first` begins after `seen` images: what has thawed stays so, however steps are counted afterwards.
    """
    if thaw_epoch is None:
        return None
    # As a fraction: 1.1 * 100 is a little more than 110 in floats, and would thaw a step too late.
    return first + max(0, math.ceil((Fraction(str(thaw_epoch)) * num_samples - seen) / global_batch))


class Freezing:
    """Freezes the parts named in `parts` up to step `until` (None: for good), and thaws them there.

    A frozen weight has `requires_grad=False`, so that a frozen beginning of the network has no backward pass at all. A
    frozen BatchNorm normalises with its running statistics, which do not move; dropout of frozen parts goes on.
    InputError for a part that the backbone does not have.
    """

    def __init__(self, backbone: nn.Module, parts: Sequence[str], *, until: int | None = None) -> None:
        require_parts(parts, backbone, "freeze")
        self.until = until
        # Some weights are never trained, such as the scale of an IResNet's last BatchNorm: thawing leaves them alone.
        self.parameters = [
            parameter
            for name, parameter in backbone.named_parameters()
            if parameter.requires_grad and any(is_part_of(name, part) for part in parts)
        ]
        self.norms = [
            module
            for name, module in backbone.named_modules()
            if isinstance(module, _BatchNorm) and any(is_part_of(name, part) for part in parts)
        ]
        self.holds = False

    def is_frozen(self, step: int) -> bool:
        """Whether any part is frozen in `step`."""
        return bool(self.parameters or self.norms) and (self.until is None or step < self.until)

    def advance(self, step: int) -> bool:
        """Bring the backbone into the state of `step`, which may be any; True where that changed what trains.

        Data parallelism and the optimizer must then be built anew, on all ranks.
        """
        if self.is_frozen(step) == self.holds:
            return False
        self.holds = not self.holds
        for parameter in self.parameters:
            parameter.requires_grad_(not self.holds)
            parameter.grad = None
        for norm in self.norms:
            norm.train(not self.holds)
        return True
