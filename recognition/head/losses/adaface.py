"""AdaFace: a margin that turns from angular to additive with the quality of the image.

Kim, Jain, Liu 2022, "AdaFace: Quality Adaptive Margin for Face Recognition" (arXiv:2204.00964), section 3.3:
    q = clip((|z| - mean) / (std / h), -1, 1)          of the norms |z| of a batch, mean and std as running averages
    t = cos(theta + g_angle) - g_add,                  g_angle = -m q,   g_add = m q + m
A norm far below the mean (q = -1) gives ArcFace's margin, one at the mean (q = 0) CosFace's; far above it (q = 1) the
angle shrinks by m, and 2 m are taken off.
"""

from __future__ import annotations

import math

import torch

from recognition.errors import InputError
from recognition.head.losses.angular import held_sine, with_slope
from recognition.head.objective import Objective

# As in the authors' code: norms are held to this range, and std is kept above zero by this much.
NORM_RANGE = (1e-3, 100.0)
STD_FLOOR = 1e-3


class AdaFace(Objective):
    """The margin softmax with AdaFace's margin; `norm_mean` and `norm_std` are running averages over global batches.

    `t_alpha` is the weight of the newest batch in them. Quality carries no gradient, as in the paper.
    theta + g_angle is held to [0, pi], where the cosine has slope zero.
    """

    uses_norm = True

    def __init__(self, s: float, m: float = 0.4, h: float = 0.333, t_alpha: float = 0.01) -> None:
        super().__init__(s)
        if not 0 <= m <= math.pi / 2:
            raise InputError(f"AdaFace: m={m} must lie in [0, pi / 2]; 0.4 is usual")
        if not 0 < h < math.inf:
            raise InputError(f"AdaFace: h={h} must be above 0; 0.333 is usual")
        if not 0 < t_alpha <= 1:
            raise InputError(f"AdaFace: t_alpha={t_alpha} must lie in (0, 1]; 0.01 is usual")
        self.m, self.h, self.t_alpha = float(m), float(h), float(t_alpha)
        # The authors' initial values.
        self.register_buffer("norm_mean", torch.tensor(20.0))
        self.register_buffer("norm_std", torch.tensor(100.0))

    @torch.no_grad()
    def observe(self, norm_G: torch.Tensor | None, cos_G: torch.Tensor | None) -> None:
        """Take the norms of the global batch into the running mean and (unbiased) standard deviation."""
        norm_G = norm_G.clamp(*NORM_RANGE).to(self.norm_mean.dtype)
        # A batch of one has no deviation from its mean.
        std, mean = torch.std_mean(norm_G, correction=min(1, norm_G.numel() - 1))
        self.norm_mean.lerp_(mean, self.t_alpha)
        self.norm_std.lerp_(std, self.t_alpha)

    def quality(self, norm_G: torch.Tensor) -> torch.Tensor:
        """The image quality q in [-1, 1] that the norms tell, without gradient."""
        distance_G = norm_G.detach().clamp(*NORM_RANGE) - self.norm_mean
        return (distance_G / (self.norm_std + STD_FLOOR) * self.h).clamp(-1, 1)

    def target(self, cos_G: torch.Tensor, norm_G: torch.Tensor | None) -> torch.Tensor:
        """Target cosines with the margin taken off, unscaled; differentiable in the cosines."""
        shift_G = self.m * self.quality(norm_G)
        theta_G = torch.acos(cos_G.detach().clamp(-1, 1))
        phi_G = (theta_G - shift_G).clamp(0, math.pi)
        value_G = torch.cos(phi_G) - (self.m + shift_G)
        return with_slope(value_G, torch.sin(phi_G) / held_sine(theta_G), by=cos_G)

    def extra_repr(self) -> str:
        """The numbers that tell one AdaFace from another."""
        return f"s={self.s}, m={self.m}, h={self.h}, t_alpha={self.t_alpha}"
