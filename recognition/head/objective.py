"""What a step over the sharded classes minimises, cut into the pieces that a sweep over blocks of them needs.

G global batch, N classes of a block, Q sums per sample. `cos` are cosines between embeddings and class centres, `value`
is the target's cosine after its margin, z = s * cos are scaled logits. The base class is the softmax; a margin
overrides `target`, a loss that treats non-targets by itself overrides `others_`, one that is no softmax the last two.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

from recognition.errors import InputError

# A gradient divides by rows times the sum of exponentials: e^18 rows stay away from the subnormal numbers.
LOG_ROWS = 18.0
# What a reciprocal may still be multiplied with.
_ROOM = 2.0**16


class Closed(NamedTuple):
    """Per sample: its loss, and the derivatives of that by logits: scale * weight (non-targets), scale * target."""

    loss_G: torch.Tensor
    scale_G: torch.Tensor
    target_G: torch.Tensor


class Objective(nn.Module):
    """The softmax over all classes, in sums: loss = log(1 + sum over non-targets e^(z - z_target)).

    The target is left out of the sum before the exponential, not subtracted from it afterwards: the difference would
    lose all its digits once the target dominates.
    """

    # Centres of one class; the nearest of them counts.
    subcenters = 1
    # `others_` or `observe` wants the targets' cosines of all ranks before the sweep: one more collective a step.
    target_first = False
    # `target` or `observe` wants the norms of the embeddings.
    uses_norm = False

    def __init__(self, s: float) -> None:
        super().__init__()
        if not math.isfinite(s) or s <= 0:
            raise InputError(f"margin loss: scale={s} must be above 0; 64 is usual")
        self.s = float(s)

    def observe(self, norm_G: torch.Tensor | None, cos_G: torch.Tensor | None) -> None:
        """Running statistics, once a batch, before all else; `cos_G` is given where `target_first`, -1 < cos < 1."""

    def target(self, cos_G: torch.Tensor, norm_G: torch.Tensor | None) -> torch.Tensor:
        """Target cosines (any shape) with the margin taken off, unscaled; differentiable in both arguments."""
        return cos_G

    def frozen(self) -> Objective:
        """The objective as it is at this batch, for a second sweep that comes after later batches were observed."""
        return self

    def others_(self, cos_GN: torch.Tensor, value_G: torch.Tensor) -> torch.Tensor | None:
        """Cosines of non-targets made into unscaled logits in place; returns d logit / d cos (G, N), None where all 1.

        `value_G` holds `target`'s values, of all samples where `target_first`, else only of those at home in the shard.
        """
        return None

    def offset(self, num_classes: int, dtype: torch.dtype) -> float | torch.Tensor:
        """The constant (a float or a scalar tensor) that `weigh_` and `close` take off every logit."""
        return sum_range(self.s, num_classes, dtype)[1]

    def sum_dtype(self, num_classes: int, dtype: torch.dtype) -> torch.dtype:
        """The number format the sweep has to compute in when it is asked for `dtype`: float64 for a huge scale."""
        return sum_range(self.s, num_classes, dtype)[0]

    def weigh_(self, cos_GN: torch.Tensor, offset: float | torch.Tensor) -> torch.Tensor:
        """Unscaled logits, -inf where there is none, made into weights in place; returns their sums (G, Q).

        The weight of a non-target is d sums[:, 0] / dz, here e^(z - offset).
        """
        return scaled_(cos_GN, self.s, offset).exp_().sum(1, keepdim=True)

    def close(self, sums_GQ: torch.Tensor, value_G: torch.Tensor, offset: float | torch.Tensor) -> Closed:
        """The loss, and what its gradient multiplies weights with, from sums over all classes of all ranks."""
        others_G, z_G = sums_GQ[:, 0], value_G * self.s - offset
        # One class at all makes this log(0) = -inf: the loss is then 0.
        loss_G = F.softplus(others_G.log() - z_G, threshold=50)
        # Where both vanish so does the gradient, which must not come out as 0 times infinity.
        smallest = torch.finfo(sums_GQ.dtype).tiny * _ROOM
        return Closed(loss_G, (others_G + z_G.exp()).clamp_min(smallest).reciprocal(), -others_G)

    def parameter_term(
        self, sums_GQ: torch.Tensor, value_G: torch.Tensor, offset: float | torch.Tensor
    ) -> torch.Tensor | None:
        """A scalar of value zero whose gradient is that of the mean loss by the objective's own parameters.

        Samples whose sums are not finite have no part in it.
        """
        return None

    def regulariser(self, norm_B: torch.Tensor | None) -> torch.Tensor | None:
        """A scalar added to the mean loss of this rank's samples, differentiable in their norms."""
        return None


def scaled_(cos_GN: torch.Tensor, scale: float, offset: float | torch.Tensor) -> torch.Tensor:
    """scale * cos - offset in place, in one pass over memory."""
    below = torch.as_tensor(offset, dtype=cos_GN.dtype, device=cos_GN.device).neg()
    return torch.add(below, cos_GN, alpha=scale, out=cos_GN)


def sum_range(scale: float, num_classes: int, dtype: torch.dtype) -> tuple[torch.dtype, float]:
    """Number format and constant offset in which sums of e^(z - offset), |z| <= scale, neither overflow nor vanish.

    Cosines bound the logits, so that no pass over them is needed to find their maximum. Up to a scale of about 70 the
    format stays as given; beyond, float64 reaches far enough.
    """
    for candidate in (dtype, torch.float64):
        info = torch.finfo(candidate)
        offset = max(0.0, scale + math.log(num_classes) - (math.log(info.max) - LOG_ROWS))
        if -scale - offset > math.log(info.tiny):
            return candidate, offset
    raise InputError(f"scale={scale} is too large: e^scale leaves the range of float64; 64 is usual")
