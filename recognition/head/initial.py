"""What class centres start from: normal numbers that depend on (seed, class) alone, so that any W starts alike."""

from __future__ import annotations

import math

import torch

from recognition.permutation import permutation_keys
from recognition.splitmix import mix_

# arcface_torch's: the norm of a centre is normalised away, so that this sets the speed of its first steps.
INITIAL_STD = 0.01
_PURPOSE = 0xCE17E25
_BLOCK_ELEMENTS = 1 << 16


def initial_centers(classes_N: torch.Tensor, subcenters: int, embedding_size: int, *, seed: int) -> torch.Tensor:
    """Centres float32 (N, c, D) of the classes with the global int64 numbers `classes_N`, on their device."""
    places = torch.arange(subcenters, device=classes_N.device)
    rows_R = (classes_N[:, None] * subcenters + places).flatten()
    return initial_rows(rows_R, embedding_size, seed=seed).unflatten(0, (len(classes_N), subcenters))


def initial_rows(rows_R: torch.Tensor, embedding_size: int, *, seed: int) -> torch.Tensor:
    """Centres float32 (R, D) ~ N(0, 0.01^2) of the rows with the global int64 numbers `rows_R`, on their device.

    Every pair of numbers is made from its own place in a counter, so that any row is made alone and whenever needed.
    """
    words = -(-embedding_size // 2)
    key = int(permutation_keys(_PURPOSE, seed)[0].astype("int64"))
    place_W = torch.arange(words, device=rows_R.device)
    centers_RD = torch.empty(len(rows_R), embedding_size, device=rows_R.device)
    block = max(1, _BLOCK_ELEMENTS // words)
    for start in range(0, len(rows_R), block):
        counter_RW = rows_R[start : start + block, None] * words + place_W
        centers_RD[start : start + block] = _normals(mix_(counter_RW, key))[:, :embedding_size]
    return centers_RD.mul_(INITIAL_STD)


def _normals(words_RW: torch.Tensor) -> torch.Tensor:
    """Two standard normal numbers from each 64-bit word (Box and Muller 1958), float32 (R, 2 W)."""
    # The half keeps the logarithm's argument above zero; rounding to one is as harmless as it is rare.
    high = ((words_RW >> 32) & 0xFFFFFFFF).float().add_(0.5).mul_(2.0**-32)
    angle = (words_RW & 0xFFFFFFFF).float().mul_(2 * math.pi * 2.0**-32)
    radius = high.log_().mul_(-2).sqrt_()
    return torch.cat([radius * angle.cos(), radius.mul_(angle.sin_())], dim=1)
