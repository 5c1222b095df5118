"""Faults of one rank at one step, injected into the steps that a run takes; no production code knows of them."""

from __future__ import annotations

import dataclasses
import os
import shutil
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from recognition.environment import launched
from recognition.training import assembly
from recognition.training.step import TrainStep

SIGNALS = {"kill": signal.SIGKILL, "stop": signal.SIGSTOP, "term": signal.SIGTERM, "usr1": signal.SIGUSR1}
KINDS = (*SIGNALS, "boom", "slow", "verify", "fill", "free")


@dataclass(frozen=True)
class Fault:
    """What happens to `rank` once it has taken `step` steps, in start number `start` of the job (-1 = in every one).

    kill, stop, term, usr1  it sends itself that signal: before the step, or `late`, when the step has been voted on
    boom                    it raises an error
    slow                    from here on, each of its steps takes `seconds` longer
    verify                  so does each forward pass of its verifications
    fill                    somebody else fills the disk of the run's folder up to `left` bytes
    free                    and takes it away again
    """

    kind: str
    rank: int = 0
    step: int = 0
    start: int = 0
    late: int = 0
    seconds: float = 0.0
    left: int = 0


def parse_fault(text: str) -> Fault:
    """The fault of `kill:rank=1,step=4`; ValueError when there is none of that name, or a key is not known."""
    kind, _, rest = text.partition(":")
    if kind not in KINDS:
        raise ValueError(f"{kind!r} is no fault; there are {', '.join(KINDS)}")
    types = {field.name: type(field.default) for field in dataclasses.fields(Fault) if field.name != "kind"}
    given = dict(part.split("=", 1) for part in rest.split(",") if part)
    if unknown := given.keys() - types.keys():
        raise ValueError(f"{text!r}: {', '.join(sorted(unknown))} is not known; there are {', '.join(types)}")
    return Fault(kind, **{name: types[name](value) for name, value in given.items()})


@contextmanager
def injected(texts: Sequence[str]) -> Iterator[None]:
    """Let these faults happen to every run that begins inside the block."""
    faults = [parse_fault(text) for text in texts]

    class FaultyStep(TrainStep):
        def __init__(self, *args, **options):
            super().__init__(*args, **options)
            now = launched().restarts
            self.faults = [f for f in faults if f.rank == self.runtime.rank and f.start in (-1, now)]
            self.taken = 0
            self.model.register_forward_pre_hook(self._verify_slowly)

        def __call__(self, batches, *, step, **options):
            self.taken = step
            self._strike(late=0)
            return super().__call__(batches, step=step, **options)

        def embed(self, batch):
            time.sleep(self._seconds("slow"))
            return super().embed(batch)

        def _verify_slowly(self, model, _):
            if not model.training:
                time.sleep(self._seconds("verify"))

        def _update(self, lr, skip):
            self._strike(late=1)
            super()._update(lr, skip)

        def _seconds(self, kind):
            return sum(f.seconds for f in self.faults if f.kind == kind and f.step <= self.taken)

        def _strike(self, late):
            for fault in self.faults:
                if (fault.step, fault.late) == (self.taken, late):
                    strike(fault, self.cfg.output_dir)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(assembly, "TrainStep", FaultyStep)
        yield


def strike(fault: Fault, run_dir: Path) -> None:
    """Do what happens at one moment, in the rank to which it does."""
    if fault.kind in SIGNALS:
        os.kill(os.getpid(), SIGNALS[fault.kind])
    elif fault.kind == "boom":
        raise RuntimeError(f"boom at step {fault.step} on rank {fault.rank}")
    elif fault.kind == "fill":
        fill(run_dir.parent, fault.left)
    elif fault.kind == "free":
        (run_dir.parent / "filler").unlink()


def fill(folder: Path, left: int = 0) -> None:
    """Fill the file system of `folder` up to `left` bytes, with a file `filler` in it."""
    size = shutil.disk_usage(folder).free - left
    with open(folder / "filler", "wb") as file:
        while size > 0:
            size -= file.write(bytes(min(size, 1 << 20)))
