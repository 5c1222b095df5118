"""UniFace: one threshold for all identities; wrong cosines have to stay below it, right ones above.

Zhou, Jia, Li, Shen, Duan 2023, "UniFace: Unified Cross-Entropy Loss for Deep Face Recognition" (ICCV 2023), the loss
L_uce-m with the balancing factor lambda:
    loss = log(1 + e^(b - s (cos(theta) - m))) + lambda * sum over non-targets log(1 + e^(s c - b))
b is learned; b / s is the threshold. It is no softmax: classes do not compete, each is told apart by itself.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import nn

from recognition.errors import InputError
from recognition.head.objective import Closed, Objective, scaled_


class UniFace(Objective):
    """The unified cross-entropy; its parameter `b` starts at log(10 * classes in a step), the authors' value.

    With sampled negatives the sum runs over the sample as it is, without a factor for those left out, and `b` starts
    for `sample_rate` * num_classes: the paper's variant with a ratio r of negatives. The authors' code cuts logits off
    at +-s, and their gradients with them; here softplus does not overflow and nothing is cut.
    """

    def __init__(
        self, s: float, m: float = 0.4, *, num_classes: int, sample_rate: float = 1.0, negative_weight: float = 1.0
    ) -> None:
        super().__init__(s)
        if not 0 <= m <= 2:
            raise InputError(f"UniFace: m={m} must lie in [0, 2]; 0.4 is usual")
        if not 0 < negative_weight < math.inf:
            raise InputError(f"UniFace: lambda={negative_weight} must be above 0; 1 is usual")
        if num_classes < 1 or not 0 < sample_rate <= 1:
            raise InputError(f"UniFace: num_classes={num_classes}, sample_rate={sample_rate} leave no class")
        self.m, self.negative_weight = float(m), float(negative_weight)
        self.b = nn.Parameter(torch.tensor(math.log(10 * num_classes * sample_rate)))

    def target(self, cos_G: torch.Tensor, norm_G: torch.Tensor | None) -> torch.Tensor:
        """Target cosines with the margin taken off, unscaled; differentiable in the cosines."""
        return cos_G - self.m

    def offset(self, num_classes: int, dtype: torch.dtype) -> float | torch.Tensor:
        """A scalar tensor: b, as it is at this moment."""
        return self.b.detach().to(dtype, copy=True)

    def sum_dtype(self, num_classes: int, dtype: torch.dtype) -> torch.dtype:
        """Always `dtype`: nothing is raised to a power that could overflow."""
        return dtype

    def weigh_(self, cos_GN: torch.Tensor, offset: float | torch.Tensor) -> torch.Tensor:
        """Sigmoids in place; returns sums (G, 2), of log(1 + e^(z - b)) and of the sigmoids."""
        z_GN = scaled_(cos_GN, self.s, offset)
        losses_G = F.softplus(z_GN, threshold=50).sum(1)
        return torch.stack((losses_G, z_GN.sigmoid_().sum(1)), 1)

    def close(self, sums_GQ: torch.Tensor, value_G: torch.Tensor, offset: float | torch.Tensor) -> Closed:
        """The loss, and what its gradient multiplies sigmoids with."""
        z_G = value_G * self.s - offset
        loss_G = F.softplus(-z_G, threshold=50) + self.negative_weight * sums_GQ[:, 0]
        return Closed(loss_G, torch.full_like(z_G, self.negative_weight), -torch.sigmoid(-z_G) / self.negative_weight)

    def parameter_term(
        self, sums_GQ: torch.Tensor, value_G: torch.Tensor, offset: float | torch.Tensor
    ) -> torch.Tensor | None:
        """Zero, with d mean loss / d b = mean of (1 - sigmoid of the target) - lambda * sum of the others' sigmoids."""
        with torch.no_grad():
            z_G = value_G * self.s - offset
            slope_G = torch.sigmoid(-z_G) - self.negative_weight * sums_GQ[:, 1]
            slope = torch.where(torch.isfinite(slope_G), slope_G, 0).mean()
        return slope * (self.b - self.b.detach())

    def extra_repr(self) -> str:
        """The numbers that tell one UniFace from another."""
        return f"s={self.s}, m={self.m}, lambda={self.negative_weight}"
