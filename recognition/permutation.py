"""Keyed permutations of range(size) that are never stored: any position is computed alone, and back.

A Feistel network over Z_a x Z_b with a * b >= size (Black and Rogaway 2002, "Ciphers with arbitrary finite domains":
generalised Feistel with cycle walking). a and b are near sqrt(size), so that about one position in sqrt(size) walks.
"""

from __future__ import annotations

import math

import numpy as np

# Four rounds already look random to any test of pairs. Below about 6 elements no number of rounds is quite uniform.
ROUNDS = 6
MAX_SIZE = 2**62
_U64 = (1 << 64) - 1


def permutation_keys(*words: int) -> np.ndarray:
    """Round keys, uint64 (ROUNDS,), for a tuple of integers such as (seed, epoch) or (seed, step, rank)."""
    state = np.zeros(1, np.uint64)
    for word in words:
        # The position in the tuple counts: absorbing one word at a time keeps (1, 2) apart from (2, 1).
        state = _mix(state + np.uint64(0x9E3779B97F4A7C15)) ^ np.uint64(int(word) & _U64)
    return _mix(_mix(state) + np.arange(1, ROUNDS + 1, dtype=np.uint64) * np.uint64(0xD1B54A32D192ED03))


def permute(indices: np.ndarray, size: int, keys: np.ndarray) -> np.ndarray:
    """Image, int64, of each index in [0, size) under the permutation of `keys`; same shape, ValueError out of range."""
    return _walk(indices, size, keys, _encrypt)


def unpermute(indices: np.ndarray, size: int, keys: np.ndarray) -> np.ndarray:
    """The inverse of `permute`: `unpermute(permute(i, n, k), n, k) == i`."""
    return _walk(indices, size, keys, _decrypt)


def _walk(indices: np.ndarray, size: int, keys: np.ndarray, cipher) -> np.ndarray:  # noqa: ANN001
    indices = np.asarray(indices, np.int64)
    if not 1 <= size <= MAX_SIZE:
        raise ValueError(f"a permutation needs 1 <= size <= 2**62, not {size}")
    if indices.size and not (indices.min() >= 0 and indices.max() < size):
        raise ValueError(f"indices must lie in [0, {size}); they reach from {indices.min()} to {indices.max()}")
    a = math.isqrt(size - 1) + 1
    b = -(-size // a)
    values = cipher(indices.ravel().astype(np.uint64), a, b, keys)
    # Cycle walking: a value outside is sent round again; it comes back inside, because the start was inside.
    outside = np.flatnonzero(values >= np.uint64(size))
    while outside.size:
        values[outside] = cipher(values[outside], a, b, keys)
        outside = outside[values[outside] >= np.uint64(size)]
    return values.astype(np.int64).reshape(indices.shape)


def _encrypt(values: np.ndarray, a: int, b: int, keys: np.ndarray) -> np.ndarray:
    left, right = values // np.uint64(b), values % np.uint64(b)
    for turn, key in enumerate(keys):
        if turn % 2 == 0:
            left = _add(left, _round(right, key, a), a)
        else:
            right = _add(right, _round(left, key, b), b)
    return left * np.uint64(b) + right


def _decrypt(values: np.ndarray, a: int, b: int, keys: np.ndarray) -> np.ndarray:
    left, right = values // np.uint64(b), values % np.uint64(b)
    for turn, key in reversed(list(enumerate(keys))):
        if turn % 2 == 0:
            left = _add(left, np.uint64(a) - _round(right, key, a), a)
        else:
            right = _add(right, np.uint64(b) - _round(left, key, b), b)
    return left * np.uint64(b) + right


def _add(x: np.ndarray, y: np.ndarray, modulus: int) -> np.ndarray:
    total = x + y
    total -= np.uint64(modulus) * (total >= np.uint64(modulus))
    return total


def _round(half: np.ndarray, key: np.uint64, modulus: int) -> np.ndarray:
    """A keyed hash of `half`, scaled to [0, modulus) by a multiplication instead of a division."""
    return ((_mix(half + key) >> np.uint64(32)) * np.uint64(modulus)) >> np.uint64(32)


def _mix(x: np.ndarray) -> np.ndarray:
    """The finaliser of splitmix64 (Steele, Lea and Flood 2014): a bijection of 64-bit words that spreads every bit."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
