"""Two sides of a comparison, timed so that whatever else the machine does falls on both."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple

import torch

Side = Callable[[int], object]  # takes one step, given its number


class Timing(NamedTuple):
    """The least of several repeats, seconds: CPU time of all threads of the process, and time on the wall."""

    cpu_s: float
    wall_s: float

    def figure(self, device: torch.device) -> float:
        """What ratios are taken of: CPU time, which other users of the cores do not change; on a GPU the wall."""
        return self.cpu_s if device.type == "cpu" else self.wall_s


def interleaved(
    sides: Mapping[str, Side],
    *,
    repeats: int = 3,
    warmup: int = 1,
    threads: int = 1,
    device: torch.device | None = None,
    first_step: int = 0,
) -> dict[str, Timing]:
    """Time one step of each side in turn, `repeats` times after `warmup` rounds that do not count.

    With several threads CPU time counts those that spin while they wait for others, so that ratios of CPU time
    compare work with one thread alone.
    """
    device = device or torch.device("cpu")
    samples: dict[str, list[tuple[float, float]]] = {name: [] for name in sides}
    with computing_threads(threads):
        for round_ in range(warmup + repeats):
            for name, side in sides.items():
                _finish(device)
                cpu, wall = time.process_time(), time.perf_counter()
                side(first_step + round_)
                _finish(device)
                if round_ >= warmup:
                    samples[name].append((time.process_time() - cpu, time.perf_counter() - wall))
    return {name: Timing(*map(min, zip(*taken))) for name, taken in samples.items()}


@contextmanager
def computing_threads(threads: int) -> Iterator[None]:
    """Let torch compute with `threads` threads inside the block."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _finish(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
