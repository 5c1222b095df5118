"""Margins on cosines: how much harder the target's logit is made.

theta is the angle between an embedding and the centre of its class, c = cos(theta). One formula holds the family,
    t = cos(m1 * theta + m2) - m3                       (Deng et al. 2019, "ArcFace", eq. 4)
with m1 the multiplicative angular margin (SphereFace; Liu et al. 2017, eq. 7), m2 the additive angular one (ArcFace,
eq. 3) and m3 the additive cosine one (CosFace; Wang et al. 2018, eq. 4).
"""

from __future__ import annotations

import math

import torch

from recognition.errors import InputError
from recognition.head.objective import Objective

MARGIN_GRADIENTS = ("exact", "straight_through")


def combined_margin(cos: torch.Tensor, m1: float, m2: float, m3: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Value t and slope dt/dc, both shaped like the target cosines `cos`; neither carries a gradient.

    Past pi the angle phi = m1 * theta + m2 would make the cosine rise again and reward the worst samples. There the
    value goes on falling as (-1)^k cos(phi) - 2k with k = floor(phi / pi) (SphereFace, eq. 7), smooth at the seams.
    The true slope m1 |sin phi| / sin theta is infinite at c = +-1 when m2 > 0; it is held at the angle sqrt(eps) from
    there, the nearest that the number format tells apart, so that slopes are always finite.
    """
    cos = cos.detach()
    if m1 == 1 and m2 == 0:
        return cos - m3, torch.ones_like(cos)
    theta = torch.acos(cos.clamp(-1, 1))
    value = _falling_cosine(m1 * theta + m2) - m3
    edge = math.sqrt(torch.finfo(cos.dtype).eps)
    theta = theta.clamp(edge, math.pi - edge)
    return value, m1 * torch.sin(m1 * theta + m2).abs() / torch.sin(theta)


def plain_margin(cos: torch.Tensor, m1: float, m2: float, m3: float) -> tuple[torch.Tensor, torch.Tensor]:
    """As `combined_margin`, but as arcface_torch trains: no rule past pi, and a slope of 1 wherever the cosine is."""
    cos = cos.detach()
    if m1 == 1 and m2 == 0:
        return cos - m3, torch.ones_like(cos)
    return torch.cos(m1 * torch.acos(cos.clamp(-1, 1)) + m2) - m3, torch.ones_like(cos)


def _falling_cosine(phi: torch.Tensor) -> torch.Tensor:
    k = torch.floor(phi / math.pi)
    return (1 - 2 * (k % 2)) * torch.cos(phi) - 2 * k


class CombinedMarginLoss(Objective):
    """The softmax with a combined margin; holds the scale s, the margins and the inter-class filter.

    `interclass_filtering_threshold` > 0 sets non-target cosines above it to 0, without gradient: such a class is
    likely the same person under another label. `margin_gradient` is "exact", or "straight_through" as in arcface_torch.
    """

    def __init__(
        self,
        s: float,
        m1: float,
        m2: float,
        m3: float,
        interclass_filtering_threshold: float = 0,
        margin_gradient: str = "exact",
    ) -> None:
        super().__init__(s)
        numbers = {"m1": m1, "m2": m2, "m3": m3, "filter": interclass_filtering_threshold}
        for name, number in numbers.items():
            if not math.isfinite(number):
                raise InputError(f"margin loss: {name}={number} is not a finite number")
        if m1 <= 0 or m2 < 0 or m3 < 0:
            raise InputError(
                f"margin loss: margin_list=({m1}, {m2}, {m3}) needs m1 > 0, m2 >= 0 and m3 >= 0; "
                f"ArcFace is (1.0, 0.5, 0.0), CosFace (1.0, 0.0, 0.4)"
            )
        if not 0 <= interclass_filtering_threshold <= 1:
            raise InputError(
                f"margin loss: interclass_filtering_threshold={interclass_filtering_threshold} must lie in [0, 1]; "
                f"0 turns the filter off"
            )
        if margin_gradient not in MARGIN_GRADIENTS:
            raise InputError(f"margin loss: margin_gradient={margin_gradient!r} must be one of {MARGIN_GRADIENTS}")
        self.m1, self.m2, self.m3 = float(m1), float(m2), float(m3)
        self.interclass_filtering_threshold = float(interclass_filtering_threshold)
        self.margin_gradient = margin_gradient

    def forward(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Scaled logits (N, C) from cosines (N, C) and int64 labels (N,), -1 where the target is not among the C."""
        rows = torch.nonzero(labels >= 0).squeeze(1)
        targets = self.target(logits[rows, labels[rows]])
        threshold = self.interclass_filtering_threshold
        others = logits.masked_fill(logits > threshold, 0) if threshold > 0 else logits
        return self.s * others.index_put((rows, labels[rows]), targets)

    def target(self, cos: torch.Tensor, norm: torch.Tensor | None = None) -> torch.Tensor:
        """Target cosines with the margin taken off, unscaled, any shape."""
        margin = combined_margin if self.margin_gradient == "exact" else plain_margin
        value, slope = margin(cos, self.m1, self.m2, self.m3)
        # The difference is zero to the bit: it leaves the value alone and gives it the slope.
        return value + slope * (cos - cos.detach())

    def others_(self, cos_GN: torch.Tensor, value_G: torch.Tensor) -> torch.Tensor | None:
        """The inter-class filter, in place."""
        threshold = self.interclass_filtering_threshold
        if threshold == 0:
            return None
        slope_GN = (cos_GN <= threshold).to(cos_GN.dtype)
        cos_GN.mul_(slope_GN)
        return slope_GN

    def extra_repr(self) -> str:
        """The numbers that tell one margin from another."""
        return (
            f"s={self.s}, m1={self.m1}, m2={self.m2}, m3={self.m3}, "
            f"filter={self.interclass_filtering_threshold}, gradient={self.margin_gradient}"
        )
