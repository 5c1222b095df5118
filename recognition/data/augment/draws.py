"""Random numbers keyed by (seed, epoch, sample, purpose): the same for a sample in any batch, on any rank."""

from __future__ import annotations

import numpy as np
import torch

from recognition.permutation import permutation_keys
from recognition.splitmix import mix_


class Draws:
    """Streams of random numbers, one for each of N samples; every call takes the next number of each stream.

    All is computed on the host, where ids are, but for `noise`. A stream is splitmix64 from a hash of its key.
    """

    def __init__(self, starts_N: torch.Tensor, key: int) -> None:
        self.starts_N, self.key, self.taken = starts_N, key, 0

    @classmethod
    def of(cls, ids_N: torch.Tensor, epochs_N: torch.Tensor, *, seed: int, purpose: str) -> Draws:
        """The streams of samples (int64[N], both on the host), apart from those of any other purpose."""
        key, *_ = permutation_keys(seed, int.from_bytes(purpose.encode(), "big")).astype(np.int64).tolist()
        return cls(mix_(mix_(epochs_N.clone(), key) ^ ids_N, key), key)

    def between(self, low: float, high: float) -> torch.Tensor:
        """A number in [low, high) for each sample, float64[N]; `low` where the two are equal."""
        word_N = mix_(self.starts_N + self.taken, self.key)
        self.taken += 1
        share_N = ((word_N >> 11) & ((1 << 53) - 1)).double().mul_(2.0**-53)
        return share_N.mul_(high - low).add_(low)

    def noise(self, count: int, device: torch.device) -> torch.Tensor:
        """`count` random bytes for each sample, uint8 (N, count), made on the device."""
        words = -(-count // 8)
        place_W = torch.arange(self.taken, self.taken + words, device=device)
        self.taken += words
        starts_N1 = self.starts_N.to(device, non_blocking=True)[:, None]
        return mix_(starts_N1 + place_W, self.key).view(torch.uint8)[:, :count]

    def only(self, places: np.ndarray) -> Draws:
        """The streams of the samples at `places`, as far as they are taken."""
        kept = Draws(self.starts_N[torch.from_numpy(places)], self.key)
        kept.taken = self.taken
        return kept
