"""Which classes of a shard take part in a step (PartialFC; An et al. 2022, "Killing Two Birds with One Stone")."""

from __future__ import annotations

import numpy as np
import torch

from recognition.head.shards import num_sampled
from recognition.permutation import permutation_keys, permute

# Keeps the sampling keys apart from those that other users of a permutation derive from the same seed.
_PURPOSE = 0x5A3B1E


def sample_classes(
    positives: torch.Tensor, num_local: int, rate: float, *, seed: int, step: int, rank: int
) -> torch.Tensor:
    """Sorted int64 index of the shard's classes in use: every positive, and negatives up to `num_sampled` in all.

    `positives` holds local class numbers in [0, num_local), repeats allowed. Negatives are the first of a permutation
    keyed by (seed, step, rank), so that the work follows the sample and not the shard. When the positives alone exceed
    the sample they are all of it.
    """
    positives_P = np.unique(positives.cpu().numpy().astype(np.int64))
    wanted = num_sampled(num_local, rate)
    if wanted <= positives_P.size:
        return torch.from_numpy(positives_P)
    # The first `wanted` of the permutation hold at least `wanted - P` negatives, whichever the positives are.
    drawn_S = permute(np.arange(wanted), num_local, permutation_keys(_PURPOSE, seed, step, rank))
    negatives = drawn_S[~np.isin(drawn_S, positives_P)][: wanted - positives_P.size]
    return torch.from_numpy(np.sort(np.concatenate([positives_P, negatives])))
