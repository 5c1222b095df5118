"""How long ONNX Runtime takes for a picture, measured so that files can be compared: in turn, and the fastest kept."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime

from recognition.embedding.onnx_model import INPUT_TYPES
from recognition.errors import InputError
from recognition.export.onnx_file import Feed
from recognition.onnx_session import open_session


@dataclass(frozen=True)
class Timed:
    """A file, a session that it runs in, and what it takes, by the names of its inputs."""

    path: Path
    session: onnxruntime.InferenceSession
    feed: Feed

    def seconds(self) -> float:
        """Of one run; InputError for a file that fails."""
        started = time.perf_counter()
        try:
            self.session.run(None, dict(self.feed))
        except Exception as error:  # ONNX Runtime's exceptions share no base class of their own
            shapes = ", ".join(str(x.shape) for x in self.feed.values())
            raise InputError(f"{self.path} fails on input {shapes}: {str(error)[:160]}") from error
        return time.perf_counter() - started


def latencies_ms(
    files: Sequence[Path], batch: int, *, size: tuple[int, int], threads: int, repeats: int = 10
) -> list[float | None]:
    """Milliseconds per picture of each file on the CPU; None where its batch is fixed to another size.

    The files run in turn, `repeats` times after one run that is not counted, so that what else the machine does meets
    all of them; the fastest run of each counts. InputError for a file that fails.
    """
    runs = [_prepare(path, batch, size, threads) for path in files]
    fastest = fastest_seconds([run and run.seconds for run in runs], repeats)
    return [None if seconds is None else seconds / batch * 1e3 for seconds in fastest]


def fastest_seconds(runs: Sequence[Callable[[], float] | None], repeats: int) -> list[float | None]:
    """Seconds of the fastest of `repeats` runs of each, in turn, after one that is not counted; None for None.

    A run says itself how long it took.
    """
    taken: list[list[float]] = [[] for _ in runs]
    for _ in range(repeats + 1):
        for run, seconds in zip(runs, taken):
            if run is not None:
                seconds.append(run())
    return [min(seconds[1:]) if seconds else None for seconds in taken]


def _prepare(path: Path, batch: int, size: tuple[int, int], threads: int) -> Timed | None:
    session = open_session(path, threads=threads)
    entry = session.get_inputs()[0]
    fixed = entry.shape[0] if isinstance(entry.shape[0], int) and entry.shape[0] > 0 else batch
    if fixed != batch:
        return None
    shape = [batch, 3, *size] if entry.shape[1] == 3 else [batch, *size, 3]
    x = np.random.default_rng(0).uniform(-1, 1, shape).astype(INPUT_TYPES.get(entry.type, np.float32))
    return Timed(path, session, {entry.name: x})
