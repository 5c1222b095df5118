"""Signals that ask a run to stop: noted by the handler, acted on at the end of a step that all ranks agree on."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from types import FrameType, TracebackType

from recognition.environment import launched

# Ctrl-C; the end of a job; SLURM's word that the time limit is near. torchrun passes the last on if told to.
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
# A launcher that passes a signal on to processes that got it already makes one request arrive twice.
ECHO_S = 2.0


class StopRequest:
    """Within the block the first signal only sets `name`; the same one once more ends the process at once.

    Saving inside a handler would run in the middle of whatever the rank was doing, a collective perhaps.
    """

    def __init__(self) -> None:
        self.name: str | None = None
        self._since = 0.0
        self._before: dict[int, object] = {}

    @property
    def is_set(self) -> bool:
        """Whether this rank was asked to stop."""
        return self.name is not None

    def __enter__(self) -> StopRequest:
        # Python lets only the main thread handle signals; elsewhere (a notebook's worker) they keep their meaning.
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._note) for number in SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        name = signal.Signals(number).name
        if self.name is None:
            self.name, self._since = name, time.monotonic()
            _say(f"{name}: stopping at the end of this step, with a checkpoint; once more to leave at once")
        elif name == self.name and time.monotonic() - self._since > ECHO_S:
            _say(f"{name} once more: leaving without a checkpoint of this step")
            os._exit(128 + number)


def _say(line: str) -> None:
    """To the console past Python's streams, which the signal may have found locked; from one rank of several."""
    if launched().rank == 0 and sys.__stderr__ is not None:
        with contextlib.suppress(OSError):  # a handler that raises would end the run before its checkpoint
            os.write(sys.__stderr__.fileno(), f"{line}\n".encode())
