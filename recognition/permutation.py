"""Keyed permutations of range(size) that are never stored: any position is computed alone, and back.

A Feistel network over Z_a x Z_b with a * b >= size (Black and Rogaway 2002, "Ciphers with arbitrary finite domains":
generalised Feistel with cycle walking). a and b are near sqrt(size), so that about one position in sqrt(size) walks.
"""

from __future__ import annotations

import math

import numpy as np

# With four, distances between neighbours' images are still uneven at 2^18 elements. Below about 6 elements no number of
# rounds is quite uniform.
ROUNDS = 6
MAX_SIZE = 2**62
_U64 = (1 << 64) - 1
_MIX = ((np.uint64(30), np.uint64(0xBF58476D1CE4E5B9)), (np.uint64(27), np.uint64(0x94D049BB133111EB)))
# Positions at a time, so that all that is in flight stays in the second-level cache.
_BLOCK = 1 << 14


def permutation_keys(*words: int) -> np.ndarray:
    """Round keys, uint64 (ROUNDS,), for a tuple of integers such as (seed, epoch) or (seed, step, rank)."""
    state = np.zeros(1, np.uint64)
    for word in words:
        # The position in the tuple counts: absorbing one word at a time keeps (1, 2) apart from (2, 1).
        state = _mixed(state + np.uint64(0x9E3779B97F4A7C15)) ^ np.uint64(int(word) & _U64)
    return _mixed(_mixed(state) + np.arange(1, ROUNDS + 1, dtype=np.uint64) * np.uint64(0xD1B54A32D192ED03))


def permute(indices: np.ndarray, size: int, keys: np.ndarray) -> np.ndarray:
    """Image, int64, of each index in [0, size) under the permutation of `keys`; same shape, ValueError out of range."""
    return _walked(_checked(indices, size), size, keys, _encrypt_)


def unpermute(indices: np.ndarray, size: int, keys: np.ndarray) -> np.ndarray:
    """The inverse of `permute`: `unpermute(permute(i, n, k), n, k) == i`."""
    return _walked(_checked(indices, size), size, keys, _decrypt_)


def permuted_first(count: int, size: int, keys: np.ndarray) -> np.ndarray:
    """Images, int64 (count,), of 0, 1, ..., count - 1; the same as `permute` gives them."""
    if not 0 <= count <= size:
        raise ValueError(f"count={count} indices are not among size={size}")
    return _walked(np.arange(count, dtype=np.uint64), size, keys, _encrypt_)


def _checked(indices: np.ndarray, size: int) -> np.ndarray:
    """A copy of the indices, uint64."""
    indices = np.asarray(indices, np.int64)
    if not 1 <= size <= MAX_SIZE:
        raise ValueError(f"a permutation needs 1 <= size <= 2**62, not {size}")
    if indices.size and not (indices.min() >= 0 and indices.max() < size):
        raise ValueError(f"indices must lie in [0, {size}); they reach from {indices.min()} to {indices.max()}")
    return indices.astype(np.uint64)


def _walked(values: np.ndarray, size: int, keys: np.ndarray, cipher_) -> np.ndarray:  # noqa: ANN001
    """The values' images as int64, in their place."""
    a = math.isqrt(max(size, 1) - 1) + 1
    b = -(-size // a)
    flat = values.reshape(-1)
    room = np.empty((4, min(_BLOCK, flat.size)), np.uint64)
    for start in range(0, flat.size, _BLOCK):
        block = flat[start : start + _BLOCK]
        cipher_(block, a, b, keys, room)
        # Cycle walking: a value outside is sent round again; it comes back inside, because the start was inside.
        outside = np.flatnonzero(block >= np.uint64(size))
        while outside.size:
            again = block[outside]
            cipher_(again, a, b, keys, room)
            block[outside] = again
            outside = outside[again >= np.uint64(size)]
    return values.view(np.int64)


def _encrypt_(values: np.ndarray, a: int, b: int, keys: np.ndarray, room: np.ndarray) -> None:
    left, right, word, spare = _halves(values, b, room)
    for turn, key in enumerate(keys):
        changed, other, modulus = (left, right, a) if turn % 2 == 0 else (right, left, b)
        changed += _round(other, key, modulus, word, spare)
        _wrap_(changed, modulus, spare)
    _join(left, right, b, values)


def _decrypt_(values: np.ndarray, a: int, b: int, keys: np.ndarray, room: np.ndarray) -> None:
    left, right, word, spare = _halves(values, b, room)
    for turn, key in reversed(list(enumerate(keys))):
        changed, other, modulus = (left, right, a) if turn % 2 == 0 else (right, left, b)
        changed += np.uint64(modulus)
        changed -= _round(other, key, modulus, word, spare)
        _wrap_(changed, modulus, spare)
    _join(left, right, b, values)


def _halves(values: np.ndarray, b: int, room: np.ndarray) -> tuple[np.ndarray, ...]:
    """Quotient and remainder by b, and two arrays to work with, all in `room`."""
    left, right, word, spare = room[:, : values.size]
    np.floor_divide(values, np.uint64(b), out=left)
    np.subtract(values, np.multiply(left, np.uint64(b), out=spare), out=right)
    return left, right, word, spare


def _join(left: np.ndarray, right: np.ndarray, b: int, out: np.ndarray) -> None:
    np.multiply(left, np.uint64(b), out=out)
    out += right


def _wrap_(x: np.ndarray, modulus: int, spare: np.ndarray) -> None:
    """x mod modulus, in place, for x below twice the modulus."""
    # What is below the modulus wraps round to a huge number here, and loses.
    np.minimum(x, np.subtract(x, np.uint64(modulus), out=spare), out=x)


def _round(half: np.ndarray, key: np.uint64, modulus: int, word: np.ndarray, spare: np.ndarray) -> np.ndarray:
    """A keyed hash of `half` in `word`, scaled to [0, modulus) by a multiplication instead of a division."""
    _mix_(np.add(half, key, out=word), spare)
    word >>= np.uint64(32)
    word *= np.uint64(modulus)
    word >>= np.uint64(32)
    return word


def _mix_(x: np.ndarray, spare: np.ndarray) -> None:
    """The finaliser of splitmix64 (Steele, Lea and Flood 2014), in place: a bijection that spreads every bit."""
    for shift, factor in _MIX:
        x ^= np.right_shift(x, shift, out=spare)
        x *= factor
    x ^= np.right_shift(x, np.uint64(31), out=spare)


def _mixed(x: np.ndarray) -> np.ndarray:
    x = x.copy()
    _mix_(x, np.empty_like(x))
    return x
