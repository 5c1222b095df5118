"""CurricularFace: wrong classes that beat the target weigh little at first, and more the better the network gets.

Huang et al. 2020, "CurricularFace: Adaptive Curriculum Learning Loss for Deep Face Recognition" (arXiv:2004.00288),
section 3.2: the target's logit is T = cos(theta + m), that of a wrong class
    N = c            where c <= T
    N = c (t + c)    where c > T,    t the running mean of the targets' cosines (eq. 9)
"""

from __future__ import annotations

import math

import torch

from recognition.errors import InputError
from recognition.head.losses.angular import add_angle, with_slope
from recognition.head.objective import LOG_ROWS, Objective


class CurricularFace(Objective):
    """The margin softmax with CurricularFace's modulation; `t` is a running mean over global batches, from 0.

    `t_alpha` is the weight of the newest batch in it; a batch is in `t` before its loss is computed, as in the authors'
    code. Past pi the target's value goes on falling (see `add_angle`); theirs goes over to theta's cosine minus
    m * sin(m), with a jump in the slope.
    """

    target_first = True

    def __init__(self, s: float, m: float = 0.5, t_alpha: float = 0.01) -> None:
        super().__init__(s)
        if not 0 <= m <= math.pi:
            raise InputError(f"CurricularFace: m={m} must lie in [0, pi]; 0.5 is usual")
        if not 0 < t_alpha <= 1:
            raise InputError(f"CurricularFace: t_alpha={t_alpha} must lie in (0, 1]; 0.01 is usual")
        self.m, self.t_alpha = float(m), float(t_alpha)
        self.register_buffer("t", torch.tensor(0.0))

    @torch.no_grad()
    def observe(self, norm_G: torch.Tensor | None, cos_G: torch.Tensor | None) -> None:
        """Take the target cosines of the global batch into their running mean."""
        mean = cos_G.mean().to(self.t.dtype)
        # A centre that is not a number must not get into what all later batches depend on.
        self.t.lerp_(torch.where(torch.isfinite(mean), mean, self.t), self.t_alpha)

    def target(self, cos_G: torch.Tensor, norm_G: torch.Tensor | None) -> torch.Tensor:
        """Target cosines with the margin taken off, unscaled; differentiable in the cosines."""
        value_G, slope_G, _ = add_angle(cos_G, torch.full_like(cos_G, self.m))
        return with_slope(value_G, slope_G, by=cos_G)

    def frozen(self) -> CurricularFace:
        """A copy whose `t` stays."""
        copy = CurricularFace(self.s, self.m, self.t_alpha)
        copy.t = self.t.clone()
        return copy

    def others_(self, cos_GN: torch.Tensor, value_G: torch.Tensor) -> torch.Tensor | None:
        """Raise the hard ones among the cosines of non-targets in place; returns d logit / d cos, 1 or t + 2 c."""
        is_hard_GN = cos_GN > value_G[:, None]
        factor_GN = cos_GN + self.t.to(cos_GN.dtype)
        slope_GN = torch.where(is_hard_GN, factor_GN + cos_GN, 1)
        cos_GN.mul_(factor_GN.masked_fill_(~is_hard_GN, 1))
        return slope_GN

    def offset(self, num_classes: int, dtype: torch.dtype) -> float | torch.Tensor:
        """A scalar tensor, from `t` as it is: logits reach s (1 + |t|).

        float32 has no room below for all of the wider range. With a million classes and s = 64 a sample loses its
        gradient when every one of them lies below a cosine of about -0.5 at t = 0.7, of -0.2 at t = 1.
        """
        room = math.log(torch.finfo(dtype).max) - LOG_ROWS - math.log(num_classes)
        return (self.s * (1 + self.t.abs().to(dtype)) - room).clamp_min(0)

    def extra_repr(self) -> str:
        """The numbers that tell one CurricularFace from another."""
        return f"s={self.s}, m={self.m}, t_alpha={self.t_alpha}"
