"""What to leave out after a training with sub-centres: Deng et al. 2020, "Sub-center ArcFace", section 3.

Each class had c centres. The one that most of its images are nearest to, the dominant one, stands for the person; the
others took up noise and go. Images at more than 75 degrees from the dominant centre go with them, and the next training
runs with one centre a class. N images, C classes, D embedding.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from recognition.errors import InputError
from recognition.head.cleanliness import unit_blocks

MAX_ANGLE_DEG = 75.0


class DropList(NamedTuple):
    """`dropped_N` bool; `dominant_C` int64, -1 for a class without images; `centers_CD` unit, None if none were given.

    A class without images keeps its first centre.
    """

    dropped_N: np.ndarray
    dominant_C: np.ndarray
    centers_CD: Tensor | None


def drop_list(
    emb_ND: np.ndarray, labels_N: np.ndarray, centers_CcD: Tensor, *, max_angle_deg: float = MAX_ANGLE_DEG
) -> DropList:
    """Images farther than `max_angle_deg` from the dominant of their class's centres, and these centres (C, D)."""
    num_classes, subcenters, _ = centers_CcD.shape
    unit_CcD = F.normalize(centers_CcD, dim=-1)
    cos_Nc = np.empty((len(labels_N), subcenters), np.float32)
    for block, x_BD, labels_B in unit_blocks(emb_ND, labels_N, centers_CcD.device):
        cos_Nc[block] = torch.einsum("bd,bcd->bc", x_BD, unit_CcD[labels_B]).cpu().numpy()
    dominant_C = dominant_subcenters(labels_N, cos_Nc.argmax(1), num_classes, subcenters)
    cos_N = cos_Nc[np.arange(len(labels_N)), dominant_C[labels_N]]
    chosen_C = torch.from_numpy(np.maximum(dominant_C, 0)).to(centers_CcD.device)
    centers_CD = unit_CcD[torch.arange(num_classes, device=chosen_C.device), chosen_C]
    return DropList(cos_N < _lowest_cosine(max_angle_deg), dominant_C, centers_CD)


def drop_list_of_nearest(
    labels_N: np.ndarray,
    nearest_N: np.ndarray,
    cos_N: np.ndarray,
    num_classes: int,
    subcenters: int,
    *,
    max_angle_deg: float = MAX_ANGLE_DEG,
) -> DropList:
    """The same from what a training step knows: each image's nearest sub-centre of its class, and the cosine to it.

    Stricter than `drop_list`: the angle to the dominant centre is not known for an image that another one is nearer
    to, so all of these go.
    """
    dominant_C = dominant_subcenters(labels_N, nearest_N, num_classes, subcenters)
    dropped_N = (nearest_N != dominant_C[labels_N]) | (cos_N < _lowest_cosine(max_angle_deg))
    return DropList(dropped_N, dominant_C, None)


def dominant_subcenters(labels_N: np.ndarray, nearest_N: np.ndarray, num_classes: int, subcenters: int) -> np.ndarray:
    """Per class the sub-centre (int64, C) nearest to most of its images: the first of equals, -1 without images."""
    votes_Cc = np.bincount(labels_N * subcenters + nearest_N, minlength=num_classes * subcenters)
    votes_Cc = votes_Cc.reshape(num_classes, subcenters)
    return np.where(votes_Cc.any(1), votes_Cc.argmax(1), -1)


def _lowest_cosine(max_angle_deg: float) -> float:
    if not 0 < max_angle_deg <= 180:
        raise InputError(f"max_angle_deg={max_angle_deg} must lie in (0, 180]; the paper takes 75")
    return math.cos(math.radians(max_angle_deg))
