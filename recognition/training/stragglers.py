"""Which rank the others wait for: each step ends when the slowest rank has, so one slow disk or GPU slows all down."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median
from typing import Any

import torch

from recognition.collectives import all_gather
from recognition.runtime import Runtime

# A rank is slow beyond both: 20 % above the others' median is felt, 20 ms is more than chance.
_SLOWER_BY = 0.2
_SLOWER_BY_S = 0.02
_NAMED = 3


@dataclass(frozen=True)
class Spread:
    """Mean seconds a step, by rank, that a rank waited for its data and that it computed before it met the others."""

    data_wait_by_rank: tuple[float, ...]
    compute_by_rank: tuple[float, ...]

    @property
    def row(self) -> dict[str, Any]:
        """Values of a row of metrics: of data wait and compute together the slowest rank, its time, and the median."""
        total_by_rank = [sum(times) for times in zip(self.data_wait_by_rank, self.compute_by_rank)]
        slowest_rank = max(range(len(total_by_rank)), key=total_by_rank.__getitem__)
        return {
            "slowest_rank": slowest_rank,
            "slowest_s": total_by_rank[slowest_rank],
            "median_s": median(total_by_rank),
            "data_wait_by_rank": list(self.data_wait_by_rank),
            "compute_by_rank": list(self.compute_by_rank),
        }

    @property
    def lines(self) -> list[str]:
        """A line for the log for each rank that keeps the others waiting, by the cause; the slowest first."""
        kinds = {"waiting for data": self.data_wait_by_rank, "compute": self.compute_by_rank}
        return [
            f"rank {rank} is slow: {time_s:.2f} s of {kind} a step, the others {others_s:.2f} s"
            for kind, times in kinds.items()
            for rank, time_s, others_s in slow_ranks(times)[:_NAMED]
        ]


def slow_ranks(times_s: Iterable[float]) -> list[tuple[int, float, float]]:
    """(rank, its time, the others' median) of ranks above that by more than 20 % and 20 ms, the slowest first."""
    times_s, slow = list(times_s), []
    for rank in sorted(range(len(times_s)), key=lambda rank: -times_s[rank]):
        others = times_s[:rank] + times_s[rank + 1 :]
        others_s = median(others) if others else times_s[rank]
        excess_s = times_s[rank] - others_s
        if excess_s <= max(_SLOWER_BY_S, _SLOWER_BY * others_s):
            # A faster rank's others are no faster than this one's: it is not slow either.
            return slow
        slow.append((rank, times_s[rank], others_s))
    return slow


class StragglerReport:
    """Times of this rank's steps since the last reading."""

    def __init__(self) -> None:
        self.steps, self.data_wait_s, self.compute_s = 0, 0.0, 0.0

    def note(self, data_wait_s: float, compute_s: float) -> None:
        """Count a step: seconds waited for its data, and computed up to its first collective."""
        self.steps += 1
        self.data_wait_s += data_wait_s
        self.compute_s += compute_s

    def read(self, runtime: Runtime) -> Spread:
        """The mean times of all ranks since the last reading, equal on all of them; a collective."""
        means = torch.tensor([[self.data_wait_s, self.compute_s]], dtype=torch.float64) / max(1, self.steps)
        means_W2 = all_gather(means.to(runtime.device), runtime).cpu()
        self.steps, self.data_wait_s, self.compute_s = 0, 0.0, 0.0
        return Spread(*(tuple(column.tolist()) for column in means_W2.unbind(1)))
