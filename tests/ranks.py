"""Run a function on several ranks without a launcher: forked processes, gloo over a file store, 0.1 s a world.

Not supported: a parent that has started CUDA or autograd's device threads; its forked children could not use them.
"""

from __future__ import annotations

import faulthandler
import multiprocessing
import os
import pickle
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from datetime import timedelta
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import torch

# The first optimizer of a process imports it, for 2 to 3 seconds: not in each child.
import torch._dynamo
import torch.distributed as dist

from recognition.liveness import beating
from recognition.runtime import Runtime

# Peers of a failed rank get this long to report on their own, before they are ended.
GRACE_S = 0.5


class RankError(Exception):
    """The traceback of a failed rank as text; the cause of the exception that `run_ranks` raises again."""


def run_ranks(
    fn: Callable[..., Any], world: int, *args: Any, timeout_s: float = 60, collective_timeout_s: float | None = None
) -> list[Any]:
    """Call `fn(runtime, *args)` on `world` forked ranks and return the results by rank.

    Results travel pickled (numpy arrays and tensors are fine). The exception of the first rank that fails is raised
    here, its traceback as the cause. After `timeout_s` every rank is killed; TimeoutError shows where each one stood.
    A collective fails after `collective_timeout_s`, `timeout_s` where that is not given.
    """
    context = multiprocessing.get_context("fork")
    with tempfile.TemporaryDirectory(prefix="ranks-") as folder:
        pipes, processes = [], []
        for rank in range(world):
            receiver, sender = context.Pipe(duplex=False)
            collective_s = collective_timeout_s or timeout_s
            child = context.Process(target=_run_rank, args=(fn, args, rank, world, Path(folder), sender, collective_s))
            child.start()
            sender.close()
            pipes.append(receiver)
            processes.append(child)
        try:
            results = _collect(pipes, processes, Path(folder), timeout_s)
            for child in processes:
                child.join(GRACE_S)
            return results
        finally:
            for child in processes:
                child.kill()
            for child in processes:
                child.join()
            for receiver in pipes:
                receiver.close()


def _run_rank(
    fn: Callable[..., Any], args: tuple, rank: int, world: int, folder: Path, sender: Connection, timeout_s: float
) -> None:
    """Body of one forked rank; never returns, so that nothing of the parent's (pytest, atexit) runs a second time."""
    with open(_stacks_file(folder, rank), "w") as stacks:
        # Not SIGUSR1: a run takes that for a request to stop.
        faulthandler.register(signal.SIGUSR2, file=stacks, all_threads=True)
        try:
            torch.set_num_threads(1)
            if sys.platform == "linux":
                os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
            if world == 1:
                message = ("result", fn(Runtime(timeout_s=timeout_s), *args))
            else:
                store = dist.FileStore(str(folder / "store"), world)
                dist.init_process_group(
                    "gloo", store=store, rank=rank, world_size=world, timeout=timedelta(seconds=timeout_s)
                )
                with beating(rank, world, store, timeout_s=timeout_s) as heartbeat:
                    runtime = Runtime(rank, world, torch.device("cpu"), "gloo", store, timeout_s, heartbeat)
                    message = ("result", fn(runtime, *args))
        except BaseException as error:
            message = ("error", time.monotonic(), error, traceback.format_exc())
        # Not Connection.send: that hands tensors over as file descriptors, which die with this process.
        sender.send_bytes(_pickled(message))
        sender.close()
        sys.stdout.flush()
        sys.stderr.flush()
        if dist.is_initialized() and message[0] == "result":
            dist.barrier()
            dist.destroy_process_group()
        # gloo's threads may still be alive, and a normal exit would abort in their destructors.
        os._exit(0)


def _pickled(message: tuple) -> bytes:
    try:
        data = pickle.dumps(message)
        if message[0] == "error":
            # Some exceptions can be written but not read back, when their constructor wants other arguments.
            pickle.loads(data)
        return data
    except Exception as error:
        if message[0] == "error":
            text = message[3]
            return pickle.dumps(("error", message[1], RuntimeError(str(message[2])), text))
        text = f"the result of this rank cannot be pickled: {error}"
        return pickle.dumps(("error", time.monotonic(), TypeError(text), text))


def _collect(pipes: list[Connection], processes: list, folder: Path, timeout_s: float) -> list[Any]:
    deadline = time.monotonic() + timeout_s
    results: dict[int, Any] = {}
    failures: list[tuple[float, int, BaseException, str]] = []
    open_ranks = dict(enumerate(pipes))
    while open_ranks and time.monotonic() < deadline:
        for receiver in wait(list(open_ranks.values()), timeout=max(0.0, deadline - time.monotonic())):
            rank = pipes.index(receiver)
            del open_ranks[rank]
            try:
                kind, *content = receiver.recv()
            except EOFError:
                processes[rank].join(1)
                text = f"rank {rank} ended without a result, exit code {processes[rank].exitcode}"
                kind, content = "error", [time.monotonic(), RuntimeError(text), text]
            if kind == "result":
                results[rank] = content[0]
            else:
                failures.append((content[0], rank, content[1], content[2]))
                deadline = min(deadline, time.monotonic() + GRACE_S)
    if failures:
        _, rank, error, text = min(failures, key=lambda failure: failure[0])
        raise error from RankError(f"\n\nrank {rank} of {len(pipes)}:\n{text}")
    if open_ranks:
        raise TimeoutError(_stacks_of(open_ranks, processes, folder, timeout_s))
    return [results[rank] for rank in range(len(pipes))]


def _stacks_of(open_ranks: dict[int, Connection], processes: list, folder: Path, timeout_s: float) -> str:
    for rank in open_ranks:
        os.kill(processes[rank].pid, signal.SIGUSR2)
    time.sleep(0.2)
    stacks = "\n".join(f"rank {rank}:\n{_stacks_file(folder, rank).read_text()}" for rank in open_ranks)
    return f"ranks {sorted(open_ranks)} did not finish within {timeout_s} s and were killed; they stood at\n{stacks}"


def _stacks_file(folder: Path, rank: int) -> Path:
    return folder / f"stacks-{rank}.txt"
