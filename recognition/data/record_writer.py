"""RecordIO files, their index and their checks, written as MXNet would: all of them or none."""

from __future__ import annotations

import contextlib
import os
import zlib
from array import array
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType

import numpy as np

from recognition.atomic import naming
from recognition.data.record_checks import checks_path, crc_of_key, save_checks, stored_label
from recognition.data.record_format import pack_body, parse_body, split_body
from recognition.errors import InputError


class RecordWriter:
    """Writes `rec`, `idx` and their checks (`train.crc`) aside and renames all on a clean `close`.

    After an exception none of the names is touched.
    """

    def __init__(self, rec: str | Path, idx: str | Path | None = None) -> None:
        self.path = Path(rec)
        self.idx = Path(idx) if idx is not None else self.path.with_suffix(".idx")
        self._names = (self.path, self.idx, checks_path(self.path))
        if len(set(self._names)) < 3:
            raise InputError(f"{self.path}: records, index and checks need three names; call the records something.rec")
        self._aside = [path.with_name(path.name + ".partial") for path in self._names]
        self._keys, self._labels, self._crcs = array("q"), array("q"), array("I")
        self._offset = 0
        self._files = []
        try:
            self._open()
        except BaseException:
            self.abort()
            raise

    def _open(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        for path in self._aside:
            self._files.append(open(path, "wb", buffering=1 << 20))  # noqa: SIM115 - closed by close or abort

    def __enter__(self) -> RecordWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: BaseException | TracebackType | None) -> None:
        if kind is None:
            self.close()
        else:
            self.abort()

    def write(
        self,
        key: int,
        payload: bytes | memoryview,
        labels: float | Sequence[float] | np.ndarray,
        id: int = 0,
        id2: int = 0,
    ) -> None:
        """Append one record; a number as `labels` is written as MXNet's scalar label, a row of n as its label vector.

        InputError, and nothing appended, for a negative key, for labels that would not come back exactly, and for
        records above 2^29 - 1 bytes.
        """
        if not 0 <= key < 1 << 63:
            raise InputError(f"{self.path}: key {key} is not a number from 0 to 2^63 - 1")
        body = pack_body(payload, labels, id, id2)
        label, crc = stored_label(parse_body(body, self._offset, self.path, key)), crc_of_key(key)
        records, index, _ = self._files
        with naming(self.path):
            index.write(b"%d\t%d\n" % (key, self._offset))
            for piece in split_body(body):
                records.write(piece)
                crc = zlib.crc32(piece, crc)
                self._offset += len(piece)
        self._keys.append(key)
        self._labels.append(label)
        self._crcs.append(crc)

    def close(self, *, outdated: Iterable[Path] = ()) -> None:
        """Give the files their names; InputError, and no files, when a key was used twice or there are no records.

        `outdated`: other files that described what was there; they go when all is on the disk, before the first rename.
        """
        if not self._files:
            return
        try:
            order = self._order()
            columns = (self._keys, self._labels, self._crcs)
            columns = [np.frombuffer(column, column.typecode)[order] for column in columns]
            with naming(self.path):
                save_checks(self._files[2], *columns, rec_bytes=self._offset)
                for file in self._files:
                    file.flush()
                    os.fsync(file.fileno())
                    file.close()
            # Records never stand beside the index or the checks of their predecessor, wherever this is cut short:
            # without an index they are simply walked, without checks they are unchecked.
            for name in (*outdated, *self._names[1:]):
                name.unlink(missing_ok=True)
            for aside, name in zip(self._aside, self._names):
                os.replace(aside, name)
        finally:
            self.abort()

    def rewrite_first(self, payload: bytes, labels: float | Sequence[float] | np.ndarray) -> None:
        """Write the first record again, with as many bytes: a header that counts what came after it."""
        record = b"".join(split_body(pack_body(payload, labels, 0, 0)))
        with naming(self.path):
            self._files[0].flush()
            with open(self._aside[0], "r+b") as file:
                file.write(record)
        self._crcs[0] = zlib.crc32(record, crc_of_key(self._keys[0]))

    def abort(self) -> None:
        """Drop what was written; no effect after `close`."""
        self._close_files()
        for path in self._aside:
            path.unlink(missing_ok=True)

    def _close_files(self) -> None:
        for file in self._files:
            with contextlib.suppress(OSError):  # a full disk fails again when the rest of the buffer is flushed
                file.close()
        self._files = []

    def _order(self) -> np.ndarray | slice:
        """What puts the records in ascending order of their keys; InputError for no records and for a repeated key."""
        if not self._keys:
            raise InputError(f"{self.path}: nothing was written; a record file needs at least one record")
        keys = np.frombuffer(self._keys, np.int64)
        if (keys[1:] > keys[:-1]).all():
            return slice(None)
        order = np.argsort(keys, kind="stable")
        twice = np.flatnonzero(np.diff(keys[order]) == 0)
        if len(twice):
            raise InputError(
                f"{self.path}: key {keys[order[twice[0]]]} was written twice; give every record its own key"
            )
        return order
