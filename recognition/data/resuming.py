"""A record file that is written in several goes: what was synced before a kill is kept, the rest is cut off.

Beside the files aside grows `train.rows.partial`: what the writer knows of each record and its files do not say yet.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from recognition.atomic import naming
from recognition.data.record_writer import RecordWriter

_ROW = np.dtype([("key", "<i8"), ("label", "<i8"), ("crc", "<u4")])


class Position(NamedTuple):
    """How many bytes of the records, of the index and of the rows written aside are whole."""

    rec_bytes: int = 0
    idx_bytes: int = 0
    rows_bytes: int = 0


class ResumableWriter(RecordWriter):
    """A RecordWriter whose files aside outlive it, and that goes on at a `Position` which an earlier one synced.

    What lies behind the position is cut off. `abort`, and so an exception in a `with`, leaves the files for the next
    one; `discard` removes them.
    """

    _rows: BinaryIO | None = None

    def __init__(self, rec: str | Path, start: Position | None = None) -> None:
        self._start = start or Position()
        super().__init__(rec)

    def _open(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        rec, idx, rows = _aside(self.path)
        # The checks are written by `close` alone.
        for path, size in ((rec, self._start.rec_bytes), (idx, self._start.idx_bytes), (self._aside[2], 0)):
            file = open(path, "ab", buffering=1 << 20)  # noqa: SIM115 - closed by close or abort
            self._files.append(file)
            file.truncate(size)
        self._rows = open(rows, "a+b")  # noqa: SIM115 - closed by close or abort
        self._rows.truncate(self._start.rows_bytes)
        self._rows.seek(0)
        known = np.frombuffer(self._rows.read(), _ROW)
        for column, name in ((self._keys, "key"), (self._labels, "label"), (self._crcs, "crc")):
            column.frombytes(known[name].tobytes())
        self._offset = self._start.rec_bytes

    def sync(self) -> Position:
        """Bring all that was written to the disk, and return where it ends."""
        with naming(self.path):
            known = self._rows.tell() // _ROW.itemsize
            new = np.empty(len(self._keys) - known, _ROW)
            new["key"], new["label"], new["crc"] = self._keys[known:], self._labels[known:], self._crcs[known:]
            self._rows.write(new.tobytes())
            for file in (*self._files[:2], self._rows):
                file.flush()
                os.fsync(file.fileno())
        return Position(self._offset, self._files[1].tell(), self._rows.tell())

    def close(self, *, outdated: Iterable[Path] = ()) -> None:
        """As that of RecordWriter; what is aside stays unless all went well."""
        super().close(outdated=outdated)
        _aside(self.path)[2].unlink()

    def abort(self) -> None:
        """Let go of the files; those aside stay, up to a synced position and perhaps beyond."""
        self._close_files()
        if self._rows is not None:
            with contextlib.suppress(OSError):  # as in _close_files
                self._rows.close()

    def discard(self) -> None:
        """Remove the files aside."""
        self.abort()
        for path in {*self._aside, *_aside(self.path)}:
            path.unlink(missing_ok=True)


def kept_aside(rec: Path) -> Position:
    """How much lies aside for `rec`, whole or not."""
    return Position(*(os.path.getsize(path) if path.exists() else 0 for path in _aside(rec)))


def _aside(rec: Path) -> tuple[Path, Path, Path]:
    names = (rec, rec.with_suffix(".idx"), rec.with_suffix(".rows"))
    return tuple(name.with_name(name.name + ".partial") for name in names)
