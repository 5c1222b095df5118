"""How to measure, whatever is measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from recognition.benchmarks.apart import Ranks
from recognition.benchmarks.clock import Side, Timing, alternated


@dataclass(frozen=True)
class Settings:
    """Repeats of each side, threads of a rank, and `cpu` or `cuda`."""

    repeats: int = 3
    threads: int = 1
    device: str = "cpu"

    def apart(self, function: Callable[..., Any], *args: Any, ranks: int = 1, keeps_memory: bool = True) -> list[Any]:
        """Results by rank of `function(runtime, *args)` in fresh processes."""
        with Ranks(ranks, device=self.device, threads=self.threads, keeps_memory=keeps_memory) as call:
            return call(function, *args)

    def timings(self, sides: Mapping[str, Side], *, ranks: int = 1, repeats: int | None = None) -> dict[str, Timing]:
        """Timings of the sides, which take turns; see `alternated`."""
        return self.timings_by_threads(sides, (self.threads,), ranks=ranks, repeats=repeats)[0]

    def timings_by_threads(
        self, sides: Mapping[str, Side], threads: tuple[int, ...], *, ranks: int = 1, repeats: int | None = None
    ) -> list[dict[str, Timing]]:
        """The same for several numbers of threads."""
        return alternated(sides, repeats=repeats or self.repeats, threads=threads, device=self.device, ranks=ranks)

    def ratio(self, timings: Mapping[str, Timing], one: str, other: str) -> float:
        """How many times as long as `other` the side `one` takes."""
        device = torch.device(self.device)
        return timings[one].figure(device) / timings[other].figure(device)
