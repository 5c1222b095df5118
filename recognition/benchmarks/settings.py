"""How to measure, whatever is measured."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from recognition.benchmarks.apart import apart


@dataclass(frozen=True)
class Settings:
    """Repeats of each side, threads of a rank, and `cpu` or `cuda`."""

    repeats: int = 3
    threads: int = 1
    device: str = "cpu"

    def apart(self, function: Callable[..., Any], *args: Any, ranks: int = 1) -> list[Any]:
        """`function(runtime, *args)` in fresh processes; see `apart`."""
        return apart(function, *args, ranks=ranks, device=self.device, threads=self.threads)
