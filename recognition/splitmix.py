"""A hash of 64-bit numbers that any device computes: splitmix64 (Steele, Lea and Flood 2014) on int64 tensors."""

from __future__ import annotations

import torch


def mix_(counter: torch.Tensor, key: int) -> torch.Tensor:
    """The counter-th word of splitmix64 from the state `key`, in place of `counter` (int64)."""
    word = counter.mul_(signed(0x9E3779B97F4A7C15)).add_(key)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB), (31, 1)):
        # The mask makes torch's arithmetic shift of signed numbers a logical one.
        word.bitwise_xor_((word >> shift).bitwise_and_((1 << (64 - shift)) - 1)).mul_(signed(factor))
    return word


def signed(word: int) -> int:
    """The int64 with the bits of an unsigned 64-bit word."""
    return word - (1 << 64) if word >= 1 << 63 else word
