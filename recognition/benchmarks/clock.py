"""The sides of a comparison, timed so that whatever else the machine does falls on all of them.

Each side lives in a process of its own, with the memory allocator that its users have, and takes a step when it is its
turn.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import resource
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import NamedTuple

import torch

from recognition.benchmarks.apart import Ranks
from recognition.runtime import Runtime

Step = Callable[[int], object]  # takes a step, given its number


class Side(NamedTuple):
    """What makes the step of a side, given a runtime (picklable), and whether its processes keep freed memory."""

    make: Callable[[Runtime], Step]
    keeps_memory: bool = True


class Timing(NamedTuple):
    """The least of several repeats, seconds: CPU time of all threads, of child processes too, and time on the wall."""

    cpu_s: float
    wall_s: float

    def figure(self, device: torch.device) -> float:
        """What ratios are taken of: CPU time, which other users of the cores do not change; on a GPU the wall.

        With several threads CPU time counts those that spin while they wait for others: ratios of it compare work with
        one thread alone.
        """
        return self.cpu_s if device.type == "cpu" else self.wall_s


def alternated(
    sides: Mapping[str, Side],
    *,
    repeats: int,
    warmup: int = 1,
    threads: tuple[int, ...] = (1,),
    device: str = "cpu",
    ranks: int = 1,
) -> list[dict[str, Timing]]:
    """For each number of threads: one step of each side in turn, `repeats` times after `warmup` that do not count.

    Of several ranks the slowest counts.
    """
    with ExitStack() as stack:
        groups = {
            name: stack.enter_context(Ranks(ranks, device=device, keeps_memory=side.keeps_memory))
            for name, side in sides.items()
        }
        for name, side in sides.items():
            groups[name](_begin, side.make)
        return [
            in_turns(lambda name, number, count=count: groups[name](_take, number, count), sides, repeats, warmup)
            for count in threads
        ]


def in_turns(
    take: Callable[[str, int], list[Timing]], sides: Mapping[str, Side], repeats: int, warmup: int
) -> dict[str, Timing]:
    """The least of each side over the rounds after `warmup`; `take` gives the timings of the ranks of one step."""
    taken: dict[str, list[Timing]] = {name: [] for name in sides}
    for number in range(warmup + repeats):
        for name in sides:
            by_rank = take(name, number)
            if number >= warmup:
                taken[name].append(Timing(*map(max, zip(*by_rank))))
    return {name: least(timings) for name, timings in taken.items()}


def least(timings: Iterable[Timing]) -> Timing:
    """The least CPU time and the least time on the wall, each for itself."""
    return Timing(*map(min, zip(*timings)))


@contextmanager
def computing_threads(threads: int) -> Iterator[None]:
    """Let torch compute with `threads` threads inside the block."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def timed_step(step: Step, number: int, *, threads: int, device: torch.device) -> Timing:
    """Take one step and say what it cost."""
    with computing_threads(threads):
        _finish(device)
        cpu, wall = cpu_time_s(), time.perf_counter()
        step(number)
        _finish(device)
        return Timing(cpu_time_s() - cpu, time.perf_counter() - wall)


def cpu_time_s() -> float:
    """CPU time that this process and the processes that it started have used, those at work and those that ended."""
    living = sum(_cpu_time_of(child.pid) for child in multiprocessing.active_children())
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + living + ended.ru_utime + ended.ru_stime


def _cpu_time_of(pid: int) -> float:
    clock = ctypes.c_int()  # clockid_t
    if error := ctypes.CDLL(None).clock_getcpuclockid(pid, ctypes.byref(clock)):
        raise OSError(error, os.strerror(error), f"CPU time of process {pid}")
    return time.clock_gettime(clock.value)


# The step of the side that this process is.
_step: Step | None = None


def _begin(runtime: Runtime, make: Callable[[Runtime], Step]) -> None:
    global _step
    _step = make(runtime)


def _take(runtime: Runtime, number: int, threads: int) -> Timing:
    return timed_step(_step, number, threads=threads, device=runtime.device)


def _finish(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
