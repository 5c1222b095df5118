"""The checkpoints of a run: saved, found again, and cleared away when newer ones make them superfluous."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from recognition.checkpoint.folder import Listed, listed, lock_folder, remove, tidy
from recognition.checkpoint.manifest import DamagedCheckpoint, read_manifest
from recognition.checkpoint.opening import Checkpoint, newest_checkpoint
from recognition.checkpoint.retention import retained
from recognition.checkpoint.writing import Tensors, write_checkpoint
from recognition.collectives import gather_text
from recognition.errors import InputError
from recognition.log import LOG
from recognition.runtime import Runtime


class CheckpointStore:
    """The folder of a run's checkpoints, this run's alone until `close` or the end of the main rank's process.

    Made by all ranks together; InputError, on every rank, when another run has the folder. Where the file system knows
    no locks this is not checked, and what dead runs left aside is not removed. The newest `keep_last` checkpoints stay,
    multiples of `keep_every_steps` (0 = none), and with `keep_best` the newest that was saved as the best.
    """

    def __init__(
        self, folder: Path, runtime: Runtime, *, keep_last: int = 2, keep_every_steps: int = 0, keep_best: bool = True
    ) -> None:
        if keep_last < 1:
            raise InputError(f"{keep_last} checkpoints to keep: the newest one must stay; choose at least 1")
        self.folder = Path(folder)
        self._runtime = runtime
        self._keep = {"keep_last": keep_last, "keep_every_steps": keep_every_steps, "keep_best": keep_best}
        self._unsound: set[Path] = set()
        self._lock: int | None = None
        problem, cause = "", None
        if runtime.is_main:
            try:
                self._take()
            except (InputError, OSError) as error:
                problem, cause = str(error), error
        problem = gather_text(problem, runtime)[0]
        if problem:
            self.close()
            raise InputError(problem) from cause

    def save(
        self,
        step: int,
        *,
        tensors: Tensors,
        documents: Mapping[str, Any],
        facts: Mapping[str, Any],
        is_best: bool = False,
    ) -> Path:
        """Write the checkpoint of a step, clear old ones away, and return its path (collective).

        Every rank passes its own `tensors`, by file name and by name in the file; file names differ between ranks.
        `documents` (JSON by file name) and `facts` (JSON in the manifest) count from the main rank. A checkpoint of the
        same step is replaced, and is whole until the new one is. CheckpointNotWritten on every rank when any failed.
        """
        path = write_checkpoint(
            self.folder,
            step,
            tensors=tensors,
            documents=documents,
            facts=facts,
            is_best=is_best,
            runtime=self._runtime,
        )
        if self._runtime.is_main:
            self._unsound.discard(path)
            try:
                self._clear(step)
            except OSError as error:
                # The new checkpoint is whole, which is what was asked for.
                LOG.warning("old checkpoints were not removed: %s: %s", error.strerror, error.filename)
        self._runtime.wait_for_all("checkpoint: removal of old ones")
        return path

    def newest(self, log: Callable[[str], None]) -> Checkpoint | None:
        """The newest sound checkpoint, or None where there is none at all (collective; see `newest_checkpoint`)."""
        found = newest_checkpoint(self.folder, self._runtime, log)
        if found is not None:
            self.go_on_from(found.step)
        return found

    def go_on_from(self, step: int) -> None:
        """Say that the run goes on from the checkpoint of `step`: later ones must not push earlier ones out."""
        self._unsound = {entry.path for entry in self.checkpoints() if entry.step > step}

    def checkpoints(self) -> list[Listed]:
        """Step and path of all checkpoints by step, unverified."""
        return listed(self.folder)

    def close(self) -> None:
        """Let other runs have the folder."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def __enter__(self) -> CheckpointStore:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _take(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._lock = lock_folder(self.folder)
        if self._lock is None:
            LOG.warning("%s is on a file system without locks: let no other run use it", self.folder)
        else:
            tidy(self.folder)

    def _clear(self, step: int) -> None:
        """Remove what need not stay beside the checkpoint of `step`, which was just written.

        Later ones are of a course that the run has left; they stay until it gets there.
        """
        if self._lock is not None:
            tidy(self.folder)
        paths, best = {}, set()
        for entry in self.checkpoints():
            if entry.path in self._unsound or entry.step > step:
                continue
            try:
                if read_manifest(entry.path).is_best:
                    best.add(entry.step)
                paths[entry.step] = entry.path
            except DamagedCheckpoint:
                continue
        for old in paths.keys() - retained(paths, best, **self._keep):
            remove(paths[old])
