"""How long ONNX Runtime takes for a picture, measured so that files can be compared: in turn, and the fastest kept."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime

from recognition.embedding.models import ONNX_TYPES
from recognition.errors import InputError
from recognition.onnx_session import open_session


@dataclass(frozen=True)
class Timed:
    """A session that one file runs in, its input's name, and pictures in the form that it wants for one batch size."""

    session: onnxruntime.InferenceSession
    name: str
    x: np.ndarray

    def seconds(self) -> float:
        """Of one run."""
        started = time.perf_counter()
        self.session.run(None, {self.name: self.x})
        return time.perf_counter() - started


def latencies_ms(
    files: Sequence[Path], batch: int, *, size: tuple[int, int], threads: int, repeats: int = 10
) -> list[float | None]:
    """Milliseconds per picture of each file on the CPU; None where its batch is fixed to another size.

    The files run in turn, `repeats` times after one run that is not counted, so that what else the machine does meets
    all of them; the fastest run of each counts. InputError for a file that fails.
    """
    timed = [_prepare(path, batch, size, threads) for path in files]
    fastest = [float("inf")] * len(files)
    for repeat in range(repeats + 1):
        for place, (path, entry) in enumerate(zip(files, timed)):
            if entry is None:
                continue
            try:
                seconds = entry.seconds()
            except Exception as error:  # ONNX Runtime's exceptions share no base class of their own
                raise InputError(f"{path} fails on input {entry.x.shape}: {str(error)[:160]}") from error
            if repeat:
                fastest[place] = min(fastest[place], seconds)
    return [None if entry is None else best / batch * 1e3 for entry, best in zip(timed, fastest)]


def _prepare(path: Path, batch: int, size: tuple[int, int], threads: int) -> Timed | None:
    session = open_session(path, threads=threads)
    entry = session.get_inputs()[0]
    fixed = entry.shape[0] if isinstance(entry.shape[0], int) and entry.shape[0] > 0 else batch
    if fixed != batch:
        return None
    shape = [batch, 3, *size] if entry.shape[1] == 3 else [batch, *size, 3]
    x = np.random.default_rng(0).uniform(-1, 1, shape).astype(ONNX_TYPES.get(entry.type, np.float32))
    return Timed(session, entry.name, x)
