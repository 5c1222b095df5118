"""Many small cases in few processes, under a limit of memory and a watchdog; a case that ends its process is named."""

from __future__ import annotations

import faulthandler
import json
import os
import resource
import selectors
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

CASE_S = 60.0  # of wall time, a watchdog and no measurement: the machine may be busy


def address_space_bytes() -> int:
    """What this process has mapped."""
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


class Worker:
    """A forked process that runs `case(number)` for its numbers and writes a JSON line for each."""

    def __init__(self, case: Callable[[int], dict], numbers: Sequence[int], spare_bytes: int, case_s: float) -> None:
        self.numbers, self.done = list(numbers), 0
        self.last_words = tempfile.TemporaryFile()  # noqa: SIM115 - read after the process has ended
        self.lines, writing = os.pipe()
        sys.stdout.flush()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(self.lines)
            try:
                self._work(case, writing, spare_bytes, case_s)
            except BaseException:
                self.last_words.write(traceback.format_exc().encode())
                self.last_words.flush()
                os._exit(1)
            os._exit(0)
        os.close(writing)
        self.unread = b""

    def _work(self, case: Callable[[int], dict], writing: int, spare_bytes: int, case_s: float) -> None:
        limit = address_space_bytes() + spare_bytes
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        os.dup2(self.last_words.fileno(), 2)
        for number in self.numbers:
            faulthandler.dump_traceback_later(case_s, exit=True, file=self.last_words)
            os.write(writing, json.dumps(case(number)).encode() + b"\n")
        faulthandler.cancel_dump_traceback_later()

    def read(self) -> list[tuple[int, dict]] | None:
        """What has come of its cases; None when nothing more will."""
        if not (data := os.read(self.lines, 1 << 16)):
            return None
        *lines, self.unread = (self.unread + data).split(b"\n")
        first, self.done = self.done, self.done + len(lines)
        return [(self.numbers[first + place], json.loads(line)) for place, line in enumerate(lines)]

    def end(self) -> str | None:
        """Wait for its end; how it came to it, None when all its cases are done."""
        os.close(self.lines)
        status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        if self.done == len(self.numbers) and status == 0:
            return None
        self.last_words.seek(0)
        words = self.last_words.read().decode(errors="replace")
        words = words if len(words) < 3000 else f"{words[:1500]}\n...\n{words[-1500:]}"
        return f"the process ended with {status}: {words}"


def run_cases(
    case: Callable[[int], dict], numbers: Sequence[int], *, jobs: int, spare_bytes: int, case_s: float = CASE_S
) -> Iterator[tuple[int, dict | str]]:
    """(number, result) of each case as they end; a string instead says how a case ended its process.

    `case` runs in forks of this process. Each may map `spare_bytes` more than this one has mapped now, and take
    `case_s` seconds for a case; it is killed beyond that.
    """
    with selectors.DefaultSelector() as selector:

        def start(numbers: Sequence[int]) -> None:
            if numbers:
                worker = Worker(case, numbers, spare_bytes, case_s)
                selector.register(worker.lines, selectors.EVENT_READ, worker)

        for job in range(jobs):
            start(numbers[job::jobs])
        while selector.get_map():
            for key, _ in selector.select():
                worker = key.data
                if (results := worker.read()) is not None:
                    yield from results
                    continue
                selector.unregister(worker.lines)
                if (death := worker.end()) is not None:
                    yield worker.numbers[worker.done], death
                    start(worker.numbers[worker.done + 1 :])
