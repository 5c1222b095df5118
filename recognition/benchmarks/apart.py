"""Work in processes of its own: a peak of memory that nothing else has touched, ranks without a launcher, and the two
sides of a comparison, each with the memory allocator that its users have.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from recognition.command import PEER_GONE
from recognition.errors import InputError
from recognition.heap import keep_freed_memory
from recognition.runtime import Runtime, pick_device

COLLECTIVE_TIMEOUT_S = 600


class Ranks:
    """Processes, one a rank, that run what they are called with until the block ends.

    With `keeps_memory` freed memory stays in a process, as it does in training; without, the C library hands large
    blocks back to the kernel, which is how PyTorch runs unless told otherwise.
    """

    def __init__(self, ranks: int = 1, *, device: str = "cpu", threads: int = 1, keeps_memory: bool = True) -> None:
        self.ranks, self.device, self.threads, self.keeps_memory = ranks, device, threads, keeps_memory
        self._stack = ExitStack()

    def __enter__(self) -> Ranks:
        folder = self._stack.enter_context(tempfile.TemporaryDirectory(prefix="ranks-"))
        context = multiprocessing.get_context("spawn")
        self._pools = [self._stack.enter_context(ProcessPoolExecutor(1, context)) for _ in range(self.ranks)]
        self._place = (self.ranks, self.device, self.threads, self.keeps_memory, folder)
        return self

    def __exit__(self, *error: Any) -> None:
        wait([pool.submit(_leave) for pool in self._pools if not pool._broken])
        self._stack.__exit__(*error)

    def __call__(self, function: Callable[..., Any], *args: Any) -> list[Any]:
        """Results of `function(runtime, *args)` by rank; function and arguments must be picklable.

        What the reason is among several failures is raised: InputError where the kernel ended a process, as it does
        when memory runs out.
        """
        work = [pool.submit(_as_rank, rank, self._place, function, args) for rank, pool in enumerate(self._pools)]
        wait(work)
        failures = [error for error in (done.exception() for done in work) if error is not None]
        # A rank that fails takes the others with it: theirs is not the reason.
        failures.sort(key=lambda error: any(text in str(error) for text in PEER_GONE))
        if failures and isinstance(failures[0], BrokenProcessPool):
            raise InputError(
                f"a process that ran {function.__name__}{args} was ended from outside; "
                f"most likely the machine is out of memory: try fewer identities"
            )
        if failures:
            raise failures[0]
        return [done.result() for done in work]


# What a process of `Ranks` knows of itself after its first call.
_runtime: Runtime | None = None


def _as_rank(rank: int, place: tuple, function: Callable[..., Any], args: tuple) -> Any:
    global _runtime
    if _runtime is None:
        _runtime = _enter(rank, *place)
    try:
        return function(_runtime, *args)
    except BaseException:
        # Peers then see a closed connection instead of waiting for this rank.
        _leave()
        raise


def _enter(rank: int, ranks: int, device: str, threads: int, keeps_memory: bool, folder: str) -> Runtime:
    torch.set_num_threads(threads)
    torch_device = pick_device(device, rank, ranks)
    if torch_device.type == "cuda":
        torch.cuda.set_device(torch_device)
    elif keeps_memory:
        keep_freed_memory()
    if ranks == 1:
        return Runtime(device=torch_device)
    backend = "nccl" if torch_device.type == "cuda" else "gloo"
    if backend == "gloo" and sys.platform == "linux":
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    dist.init_process_group(
        backend,
        store=dist.FileStore(str(Path(folder) / "store"), ranks),
        rank=rank,
        world_size=ranks,
        timeout=timedelta(seconds=COLLECTIVE_TIMEOUT_S),
    )
    return Runtime(rank, ranks, torch_device, backend)


def _leave() -> None:
    if dist.is_initialized():
        dist.destroy_process_group()
