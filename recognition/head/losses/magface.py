"""MagFace: the margin grows with the length of the embedding, which thereby learns to tell the image's quality.

Meng, Zhao, Huang, Zhou 2021, "MagFace: A Universal Representation for Face Recognition and Quality Assessment"
(arXiv:2103.06627), section 3.2, for the length a held to [l_a, u_a]:
    t = cos(theta + m(a)),    m(a) = l_m + (u_m - l_m) / (u_a - l_a) * (a - l_a)
    loss = softmax loss + lambda_g * g(a),    g(a) = 1 / a + a / u_a^2
Margin and regulariser are differentiable in a: the two pull at it from both sides.
"""

from __future__ import annotations

import math

import torch

from recognition.errors import InputError
from recognition.head.losses.angular import add_angle, with_slope
from recognition.head.objective import Objective


class MagFace(Objective):
    """The margin softmax with MagFace's margin and regulariser; `norms` is (l_a, u_a), `margins` (l_m, u_m) in radians.

    Past pi the value goes on falling (see `add_angle`); the authors' code stops the margin at theta = pi / 2 instead.
    """

    uses_norm = True

    def __init__(
        self,
        s: float,
        norms: tuple[float, float] = (10.0, 110.0),
        margins: tuple[float, float] = (0.45, 0.8),
        lambda_g: float = 35.0,
    ) -> None:
        super().__init__(s)
        (self.l_a, self.u_a), (self.l_m, self.u_m) = map(float, norms), map(float, margins)
        self.lambda_g = float(lambda_g)
        if not 0 < self.l_a < self.u_a < math.inf:
            raise InputError(f"MagFace: norms={norms} needs 0 < smallest < largest; (10, 110) is usual")
        if not 0 <= self.l_m <= self.u_m <= math.pi:
            raise InputError(f"MagFace: margins={margins} needs 0 <= smallest <= largest <= pi; (0.45, 0.8) is usual")
        if not 0 <= self.lambda_g < math.inf:
            raise InputError(f"MagFace: lambda_g={lambda_g} must not be negative; 35 is usual")

    def margin(self, norm_G: torch.Tensor) -> torch.Tensor:
        """The margin m(a) in radians for the norms of embeddings, any shape; differentiable."""
        return self.l_m + (self.u_m - self.l_m) / (self.u_a - self.l_a) * (self._held(norm_G) - self.l_a)

    def target(self, cos_G: torch.Tensor, norm_G: torch.Tensor | None) -> torch.Tensor:
        """Target cosines with the margin taken off, unscaled; differentiable in cosines and norms."""
        margin_G = self.margin(norm_G)
        value_G, by_cos_G, by_margin_G = add_angle(cos_G, margin_G)
        return with_slope(with_slope(value_G, by_cos_G, by=cos_G), by_margin_G, by=margin_G)

    def regulariser(self, norm_B: torch.Tensor | None) -> torch.Tensor | None:
        """lambda_g times the mean of g(a)."""
        norm_B = self._held(norm_B)
        return self.lambda_g * (1 / norm_B + norm_B / self.u_a**2).mean()

    def _held(self, norm: torch.Tensor) -> torch.Tensor:
        return norm.clamp(self.l_a, self.u_a)

    def extra_repr(self) -> str:
        """The numbers that tell one MagFace from another."""
        norms, margins = (self.l_a, self.u_a), (self.l_m, self.u_m)
        return f"s={self.s}, norms={norms}, margins={margins}, lambda_g={self.lambda_g}"
