"""The class centres of one shard: what they start from."""

from __future__ import annotations

import numpy as np
import torch

# arcface_torch's: the norm of a centre is normalised away, so that this sets the speed of its first steps.
INITIAL_STD = 0.01
# One Philox counter step yields four 64-bit words; a word makes two normal numbers.
_WORDS_A_COUNTER = 4
_NORMALS_A_WORD = 2
_BLOCK_WORDS = 1 << 16
_PURPOSE = 0xCE17E25


def initial_centers(class_start: int, num_local: int, embedding_size: int, *, seed: int) -> torch.Tensor:
    """Centres float32 (K, D) ~ N(0, 0.01^2) of classes [class_start, class_start + num_local).

    A row depends on (seed, class) alone, whatever the shard, so that any number of ranks starts from the same model:
    the random words are read from a counter (Philox; Salmon et al. 2011) at the place that belongs to the class.
    """
    counters_a_row = -(-embedding_size // (_WORDS_A_COUNTER * _NORMALS_A_WORD))
    words_a_row = counters_a_row * _WORDS_A_COUNTER
    stream = np.random.Philox(key=[seed % 2**64, _PURPOSE]).advance(class_start * counters_a_row)
    centers_KD = torch.empty(num_local, embedding_size)
    block = max(1, _BLOCK_WORDS // words_a_row)
    for start in range(0, num_local, block):
        rows = min(block, num_local - start)
        words = stream.random_raw(rows * words_a_row).reshape(rows, words_a_row)
        centers_KD[start : start + rows] = _normals(words)[:, :embedding_size]
    return centers_KD.mul_(INITIAL_STD)


def _normals(words: np.ndarray) -> torch.Tensor:
    """Two standard normal numbers from each 64-bit word (Box and Muller 1958), float32 (rows, 2 * words)."""
    high = torch.from_numpy((words >> np.uint64(32)).astype(np.float32))
    low = torch.from_numpy((words & np.uint64(0xFFFFFFFF)).astype(np.float32))
    # The half keeps the logarithm's argument above zero; rounding to one is as harmless as it is rare.
    radius = high.add_(0.5).mul_(2.0**-32).log_().mul_(-2).sqrt_()
    angle = low.mul_(2 * np.pi * 2.0**-32)
    return torch.stack([radius * angle.cos(), radius * angle.sin()], dim=-1).flatten(1)
