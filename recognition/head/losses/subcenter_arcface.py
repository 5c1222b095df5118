"""Sub-centre ArcFace: several centres for an identity, so that its mislabelled images find one beside the right one.

Deng, Guo, Liu, Gong, Zafeiriou 2020, "Sub-center ArcFace: Boosting Face Recognition by Large-scale Noisy Web Faces"
(ECCV 2020): the cosine of a class is the largest over its K centres, for the target and for all others; the margin
softmax follows.
"""

from __future__ import annotations

from recognition.errors import InputError
from recognition.head.margins import CombinedMarginLoss


class SubcenterArcFace(CombinedMarginLoss):
    """The margin softmax, any margins and inter-class filter, over `subcenters` centres for each class."""

    def __init__(
        self,
        s: float,
        m1: float = 1.0,
        m2: float = 0.5,
        m3: float = 0.0,
        interclass_filtering_threshold: float = 0,
        margin_gradient: str = "exact",
        *,
        subcenters: int = 3,
    ) -> None:
        super().__init__(s, m1, m2, m3, interclass_filtering_threshold, margin_gradient)
        if subcenters < 1:
            raise InputError(f"sub-centre ArcFace: subcenters={subcenters} must be at least 1; 3 is usual")
        self.subcenters = int(subcenters)

    def extra_repr(self) -> str:
        """The numbers that tell one margin from another."""
        return f"{super().extra_repr()}, subcenters={self.subcenters}"
