"""Jobs filled by threads ahead of the consumer and handed over in order; errors and stalls reach the consumer."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import FIRST_EXCEPTION, Future, wait
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Generic, TypeVar

from recognition.errors import InputError

Result = TypeVar("Result")

JOIN_S = 2.0
LOOK_S = 1.0


@dataclass(frozen=True)
class Job(Generic[Result]):
    """`result` is ready once `fill(slot)` has run for each slot in [0, slots); `describe(slot)` names one in errors."""

    result: Result
    slots: int
    fill: Callable[[int], None]
    describe: Callable[[int], str]


class Threads:
    """Daemon threads that run tasks in the order of submission.

    ThreadPoolExecutor would do, were it not that the interpreter waits for its threads at exit: one read that hangs
    on a dead disk would then keep an otherwise finished process alive for ever.
    """

    def __init__(self, count: int) -> None:
        self.tasks: SimpleQueue = SimpleQueue()
        self.threads = [threading.Thread(target=self._work, name=f"data-{i}", daemon=True) for i in range(count)]
        for thread in self.threads:
            thread.start()

    def submit(self, task: Callable[[], None]) -> Future:
        """Run `task` in a thread; its exception, with its traceback, is the future's."""
        future: Future = Future()
        self.tasks.put((future, task))
        return future

    def close(self) -> None:
        """End the threads; one that is stuck in a read is left behind after JOIN_S and ends with its read."""
        for _ in self.threads:
            self.tasks.put(None)
        deadline = time.monotonic() + JOIN_S
        for thread in self.threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    def _work(self) -> None:
        while (item := self.tasks.get()) is not None:
            future, task = item
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(task())
            except BaseException as error:
                future.set_exception(error)
            # Held across the next `get`, these would keep a batch alive while nobody wants it.
            del item, future, task


class _Share:
    """The slots [start, stop) of a job, filled one after the other by one thread."""

    def __init__(self, job: Job, start: int, stop: int, stopped: threading.Event) -> None:
        self.job, self.start, self.stop, self.stopped = job, start, stop, stopped
        self.slot = start
        self.running = False

    def __call__(self) -> None:
        self.running = True
        for slot in range(self.start, self.stop):
            if self.stopped.is_set():
                return
            self.slot = slot
            try:
                self.job.fill(slot)
            except InputError:
                raise
            except BaseException as error:  # SystemExit, too: in the consumer it would end the run as if all were well
                kind = type(error).__name__
                raise RuntimeError(f"{self.job.describe(slot)}: loading failed with {kind}: {error}") from error
        self.running = False


def prefetched(
    jobs: Iterable[Job[Result]], *, num_workers: int, prefetch: int, timeout_s: float
) -> Generator[tuple[Result, float], None, None]:
    """Results of `jobs` in order, each with the seconds that the consumer waited for it.

    Up to `prefetch` jobs are in flight on `num_workers` threads (0: filled in the consumer, nothing ahead). The first
    exception of a job is raised when its turn comes. InputError when a job makes no progress for `timeout_s`.
    Closing the generator ends the threads.
    """
    if num_workers == 0:
        yield from _filled_here(jobs)
        return
    stopped = threading.Event()
    threads = Threads(num_workers)
    flying: deque[tuple[Job[Result], list[_Share], list[Future]]] = deque()
    jobs = iter(jobs)
    try:
        while True:
            started = time.perf_counter()
            while len(flying) < max(1, prefetch) and (job := next(jobs, None)) is not None:
                cuts = [job.slots * i // num_workers for i in range(num_workers + 1)]
                shares = [_Share(job, a, b, stopped) for a, b in zip(cuts, cuts[1:]) if a < b]
                flying.append((job, shares, [threads.submit(share) for share in shares]))
            if not flying:
                return
            job, shares, futures = flying.popleft()
            _finish(shares, futures, threads, timeout_s)
            yield job.result, time.perf_counter() - started
            del job, shares, futures
    finally:
        stopped.set()
        threads.close()


def _filled_here(jobs: Iterable[Job[Result]]) -> Generator[tuple[Result, float], None, None]:
    for job in jobs:
        started = time.perf_counter()
        _Share(job, 0, job.slots, threading.Event())()
        yield job.result, time.perf_counter() - started


def _finish(shares: list[_Share], futures: list[Future], threads: Threads, timeout_s: float) -> None:
    """Wait for all futures; raises the first exception, or InputError after `timeout_s` without a slot filled.

    RuntimeError, within LOOK_S, where a thread is dead: what it had in hand would be waited for in vain.
    """
    slots, since = None, time.monotonic()
    while True:
        done, waiting = wait(futures, timeout=min(timeout_s / 4, LOOK_S), return_when=FIRST_EXCEPTION)
        for future in futures:
            if future in done:
                future.result()
        if not waiting:
            return
        if dead := [thread.name for thread in threads.threads if not thread.is_alive()]:
            raise RuntimeError(f"{', '.join(dead)} ended without a word while a batch was read; start the run again")
        if slots != (slots := [share.slot for share in shares]):
            since = time.monotonic()
        elif time.monotonic() - since >= timeout_s:
            stuck = "; ".join(share.job.describe(share.slot) for share in shares if share.running)
            raise InputError(
                f"no sample was read for {timeout_s:g} s, stuck at {stuck or 'the start of a batch'}; "
                f"check the disk or network drive, or raise data_timeout_s"
            )
