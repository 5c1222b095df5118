"""Which classes of a shard take part in a step (PartialFC; An et al. 2022, "Killing Two Birds with One Stone").

First `num_sampled` classes of a permutation keyed by (seed, step, rank): no pass over all K, no sort, and the place of
a class among them is one look at the inverse. Then a tail with the positives that the draw missed, one slot for every
row of the batch, most of them empty: shapes do not depend on the labels. The draw does not either, so that it can be
made, and its rows fetched, before the labels of the other ranks are known.
"""

from __future__ import annotations

import torch

from recognition.permutation import permutation_keys, permuted_first, unpermute

# Keeps the sampling keys apart from those that other users of a permutation derive from the same seed.
_PURPOSE = 0x5A3B1E


class Draw:
    """The classes that a step draws from a shard, whatever its labels: distinct, int64 (S,)."""

    def __init__(
        self, num_local: int, num_drawn: int, *, seed: int, step: int, rank: int, device: torch.device
    ) -> None:
        self._keys, self._num_local = permutation_keys(_PURPOSE, seed, step, rank), num_local
        drawn = permuted_first(num_drawn, num_local, self._keys)
        if device.type == "cuda":
            # There a binary search is one kernel, and the inverse a hundred.
            drawn.sort()
        self._host_S = torch.from_numpy(drawn)
        self._device_S = self._host_S.to(device, non_blocking=True)

    def on(self, device: torch.device) -> torch.Tensor:
        """The classes on `device`, which is the one given or the host."""
        return self._host_S if device.type == "cpu" else self._device_S

    def slots(self, labels_N: torch.Tensor) -> torch.Tensor:
        """Place among the drawn classes of each local label, int64; -1 for labels that were not drawn, or are -1."""
        here_N = labels_N >= 0
        if labels_N.device.type == "cpu":
            places = unpermute(labels_N.clamp_min(0).numpy(), self._num_local, self._keys)
            slot_N = torch.from_numpy(places)
            return torch.where(here_N & (slot_N < len(self._device_S)), slot_N, -1)
        slot_N = torch.searchsorted(self._device_S, labels_N).clamp_max(len(self._device_S) - 1)
        return torch.where(here_N & (self._device_S[slot_N] == labels_N), slot_N, -1)


def tail_places(missed_N: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Place in a tail of N slots for each label int64 (N,), equal labels at one place; bool (N,): places in use.

    Labels of -1 want no place and get one that is not in use, or is another's.
    """
    sorted_N, order_N = torch.sort(missed_N, stable=True)
    numbers_N = torch.arange(len(missed_N), device=missed_N.device)
    is_first_N = torch.ones_like(sorted_N, dtype=torch.bool)
    is_first_N[1:] = sorted_N[1:] != sorted_N[:-1]
    # The first of equal labels, which a stable sort has in front, gives them its own number as their place.
    first_N = torch.where(is_first_N, numbers_N, 0).cummax(0).values
    place_N = torch.empty_like(order_N).scatter_(0, order_N, order_N[first_N])
    return place_N, (place_N == numbers_N) & (missed_N >= 0)
