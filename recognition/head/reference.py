"""The margin softmax over all classes in plain autograd on one process: the oracle of every test of the sharded head.

It shares no line with margins.py or partial_fc.py on purpose: a mistake there must not be repeated here.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F


def reference_loss(
    emb_GD: torch.Tensor,
    centers_CD: torch.Tensor,
    labels_G: torch.Tensor,
    *,
    s: float,
    m1: float,
    m2: float,
    m3: float,
    interclass_filtering_threshold: float = 0,
    margin_gradient: str = "exact",
    classes_S: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean loss over the global batch, and the mean target cosine before the margin; both scalars.

    `classes_S` (sorted int64) restricts the softmax to a sample of the classes, which must hold every label.
    """
    if classes_S is not None:
        centers_CD, labels_G = centers_CD[classes_S], torch.searchsorted(classes_S, labels_G)
    cos_GC = F.linear(F.normalize(emb_GD), F.normalize(centers_CD))
    is_target_GC = F.one_hot(labels_G, centers_CD.shape[0]).bool()
    cos_G = cos_GC[is_target_GC]
    phi_G = m1 * torch.arccos(cos_G) + m2
    if margin_gradient == "straight_through":
        target_G = (torch.cos(phi_G) - m3 - cos_G).detach() + cos_G
    else:
        # Liu et al. 2017, eq. 7: on [k pi, (k + 1) pi] the cosine is mirrored and shifted so that it keeps falling.
        target_G = torch.cos(phi_G) - m3
        for k in range(1, 2 + math.ceil(m1 + m2 / math.pi)):
            mirrored_G = (-1) ** k * torch.cos(phi_G) - 2 * k - m3
            target_G = torch.where(phi_G >= k * math.pi, mirrored_G, target_G)
    others_GC = cos_GC
    if interclass_filtering_threshold > 0:
        others_GC = torch.where(cos_GC > interclass_filtering_threshold, torch.zeros_like(cos_GC), cos_GC)
    logits_GC = torch.where(is_target_GC, target_G[:, None], others_GC)
    return F.cross_entropy(s * logits_GC, labels_G), cos_G.detach().mean()
