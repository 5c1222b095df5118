"""Which sample is seen when: a pure function of (seed, position); nothing is stored, or tied to threads and ranks.

A run is one endless stream of positions. Epoch e is positions [e*N, (e+1)*N), a keyed permutation of the N samples.
Step t of W ranks takes the G = B*W positions from t*G on. So batches are always full and straddle epoch ends, each
sample comes exactly once an epoch, and the global batch of a step does not depend on how many ranks share it.
"""

from __future__ import annotations

import math

import numpy as np

GOLDEN_GAMMA = np.uint64(0x9E3779B97F4A7C15)
ROUNDS = 6


def mix64(x: np.ndarray) -> np.ndarray:
    """Hash uint64 values bijectively: the finaliser of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014, figure 16)."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def keyed(seed: int, counters: np.ndarray, *, purpose: int = 0) -> np.ndarray:
    """A uint64 per int64 counter, as if random; `purpose` keeps draws for different uses apart."""
    key = mix64(np.array([seed % (1 << 64)], np.uint64) + GOLDEN_GAMMA)
    key = mix64(key + np.array([purpose], np.uint64) * GOLDEN_GAMMA)
    return mix64(key + counters.astype(np.uint64) * GOLDEN_GAMMA)


def permute(ranks: np.ndarray, epochs: np.ndarray, *, num_samples: int, seed: int) -> np.ndarray:
    """Image (int64) of each place `ranks` in [0, N) under the permutation keyed by (seed, its epoch).

    Generalised Feistel cipher over pairs in Z_a x Z_b with cycle walking (Black and Rogaway, "Ciphers with arbitrary
    finite domains", CT-RSA 2002): a*b exceeds N by less than a, so hardly any place needs a second pass.
    """
    a = math.isqrt(num_samples - 1) + 1
    b = -(-num_samples // a)
    keys = keyed(seed, epochs, purpose=1)
    ids = _feistel(ranks.astype(np.uint64), keys, a, b)
    while (outside := np.flatnonzero(ids >= num_samples)).size:
        ids[outside] = _feistel(ids[outside], keys[outside], a, b)
    return ids.astype(np.int64)


def _feistel(x: np.ndarray, keys: np.ndarray, a: int, b: int) -> np.ndarray:
    """One keyed bijection of [0, a*b): each round shifts one half by a hash of the other, which stays as it was."""
    modulus, other = np.uint64(a), np.uint64(b)
    left, right = x % modulus, x // modulus
    for number in range(ROUNDS):
        left = (left + mix64(keys + (right * np.uint64(ROUNDS) + np.uint64(number)) * GOLDEN_GAMMA) % modulus) % modulus
        left, right, modulus, other = right, left, other, modulus
    # After an even number of rounds the halves are back in their places.
    return right * modulus + left


def sample_ids(positions: np.ndarray, *, num_samples: int, seed: int) -> np.ndarray:
    """Sample ids (int64[n] in [0, num_samples)) at stream positions (int64[n], >= 0)."""
    epochs, ranks = np.divmod(positions, num_samples)
    return permute(ranks, epochs, num_samples=num_samples, seed=seed)


def batch_positions(step: int, *, batch_size: int, rank: int = 0, world: int = 1) -> np.ndarray:
    """Stream positions (int64[B]) of the batch that `rank` of `world` takes at `step`; `batch_size` is B, per rank."""
    first = (step * world + rank) * batch_size
    return np.arange(first, first + batch_size, dtype=np.int64)
