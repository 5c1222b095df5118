"""A function run in fresh processes: a peak of memory that nothing else has touched, or ranks without a launcher."""

from __future__ import annotations

import multiprocessing
import os
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
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


def apart(function: Callable[..., Any], *args: Any, ranks: int = 1, device: str = "cpu", threads: int = 1) -> list[Any]:
    """Results of `function(runtime, *args)` by rank, each in a new process; function and arguments must be picklable.

    InputError where the kernel ended one of them, as it does when memory runs out.
    """
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory(prefix="ranks-") as folder, ProcessPoolExecutor(ranks, context) as pool:
        work = [pool.submit(_as_rank, function, args, rank, ranks, device, threads, folder) for rank in range(ranks)]
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


def _as_rank(
    function: Callable[..., Any], args: tuple, rank: int, ranks: int, device: str, threads: int, folder: str
) -> Any:
    torch.set_num_threads(threads)
    runtime = Runtime(rank, ranks, pick_device(device, rank, ranks))
    if runtime.device.type == "cpu":
        keep_freed_memory()
    else:
        torch.cuda.set_device(runtime.device)
    if ranks == 1:
        return function(runtime, *args)
    backend = "nccl" if runtime.device.type == "cuda" else "gloo"
    if backend == "gloo" and sys.platform == "linux":
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    dist.init_process_group(
        backend,
        store=dist.FileStore(str(Path(folder) / "store"), ranks),
        rank=rank,
        world_size=ranks,
        timeout=timedelta(seconds=COLLECTIVE_TIMEOUT_S),
    )
    try:
        return function(Runtime(rank, ranks, runtime.device, backend), *args)
    finally:
        # After an error too: its peers then see a closed connection instead of waiting for it.
        dist.destroy_process_group()
