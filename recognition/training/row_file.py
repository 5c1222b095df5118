"""Rows of JSON in a file that may be on a disk which fills up: a row is whole, absent, or written later."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from recognition.log import LOG

# Rows that wait for room on the disk; the oldest go when there are more.
MOST_WAITING = 10_000


class RowFile:
    """Appends rows to `path`; a row that finds no room waits in memory, and is written with the next that does."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        self._whole_bytes = os.fstat(self._handle).st_size
        self._waiting: list[bytes] = []
        self._told = False

    def append(self, row: Mapping[str, Any]) -> None:
        """Write the row, and what waits before it; says once in the log when that is not possible."""
        self._waiting = [*self._waiting[-MOST_WAITING:], (json.dumps(row) + "\n").encode()]
        try:
            data = b"".join(self._waiting)
            written = 0
            while written < len(data):
                written += os.write(self._handle, data[written:])
        except OSError as error:
            # Half a row would spoil the file for every reader.
            os.ftruncate(self._handle, self._whole_bytes)
            if not self._told:
                LOG.warning("%s cannot be written (%s); its rows wait in memory", self.path, error.strerror)
            self._told = True
            return
        self._whole_bytes += len(data)
        self._waiting, self._told = [], False

    def close(self) -> None:
        """Close the file; rows that still wait are lost, and the log says how many."""
        os.close(self._handle)
        if self._waiting:
            LOG.warning("%s: %d row(s) found no room on the disk", self.path, len(self._waiting))

    def __enter__(self) -> RowFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
