"""Random numbers that any machine draws alike: splitmix64 counted from a hash of the words that name the stream."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

from recognition.permutation import permutation_keys

T = TypeVar("T")
_AT_ONCE = 160


def random_words(count: int, *words: int) -> np.ndarray:
    """`count` words, uint64, of the stream that the integers `words` name."""
    import torch  # not for tools that know of heads and draw none: it takes seconds

    from recognition.splitmix import mix_

    key = permutation_keys(*words)[:1].astype(np.int64).item()
    return mix_(torch.arange(count), key).numpy().view(np.uint64)


class Numbers:
    """The numbers of one stream, one after the other; no stream is longer than a person or a scene needs."""

    def __init__(self, *words: int) -> None:
        self._shares = ((random_words(_AT_ONCE, *words) >> np.uint64(11)).astype(np.float64) * 2.0**-53).tolist()
        self._taken = 0

    def between(self, low: float, high: float) -> float:
        """Uniform in [low, high)."""
        share = self._shares[self._taken]
        self._taken += 1
        return low + share * (high - low)

    def near(self, middle: float, reach: float) -> float:
        """Bell-shaped about `middle`, never further from it than `reach`: the mean of three uniform numbers."""
        return middle + reach * (self.between(-1, 1) + self.between(-1, 1) + self.between(-1, 1)) / 3

    def chance(self, probability: float) -> bool:
        """True with this probability."""
        return self.between(0, 1) < probability

    def one_of(self, choices: Sequence[T]) -> T:
        """One of the choices, each as likely."""
        return choices[int(self.between(0, len(choices)))]
