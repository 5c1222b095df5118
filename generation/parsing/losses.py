"""What a parser learns from: cross-entropy of the pixels that are hard (Shrivastava et al. 2016, arXiv:1604.03540)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

SURE = 0.7  # a pixel is easy where its class has more of the probability
SHARE = 1 / 16  # of the pixels, the hardest ones, that count in any case


def hard_pixel_loss(logits_BCHW: Tensor, mask_BHW: Tensor, *, sure: float = SURE, share: float = SHARE) -> Tensor:
    """Mean cross-entropy over the pixels whose class has a probability below `sure`, at least `share` of them all.

    `mask_BHW`: classes, int64. Scalar float32.
    """
    losses_P = F.cross_entropy(logits_BCHW.float(), mask_BHW, reduction="none").flatten()
    least = max(1, int(share * len(losses_P)))
    hard_P = losses_P > -math.log(sure)
    # Which way is taken differs with the data: both are computed where that waits for no device.
    hardest = losses_P.topk(least).values.mean()
    count = hard_P.sum()
    hard = (losses_P * hard_P).sum() / count.clamp_min(1)
    return torch.where(count >= least, hard, hardest)


def parsing_loss(logits: Sequence[Tensor], mask_BHW: Tensor) -> Tensor:
    """The sum of that over all heads of the network, as the published parsers were trained."""
    return torch.stack([hard_pixel_loss(each, mask_BHW) for each in logits]).sum()
