"""RecordIO files as MXNet, im2rec and InsightFace write them: read by key from any thread, and written."""

from __future__ import annotations

import contextlib
import mmap
import os
from array import array
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from types import TracebackType

import numpy as np

from recognition.atomic import naming
from recognition.data.record_format import (
    EXACT_LABELS,
    REINDEX,
    Record,
    RecordError,
    pack_body,
    read_body,
    read_record,
    record_error,
    split_body,
)
from recognition.data.record_index import load_index
from recognition.errors import InputError

__all__ = ["Record", "RecordError", "RecordReader", "RecordWriter", "rec_path"]


def rec_path(text: str) -> Path:
    """The .rec file that a user means by a file or a folder."""
    return Path(text) / "train.rec" if Path(text).is_dir() else Path(text)


class RecordReader:
    """Records of `rec` by key; `idx` is the one beside it unless given, and is rebuilt from the records when missing.

    Reads are slices of one memory map, so threads and forked processes share a reader without locks. Payloads are
    views of the file and stay valid while anyone holds them, also after `close`. `keys` and `offsets` are int64,
    `keys` ascending. RecordError for files that cannot be read, and for all damage in them.
    """

    def __init__(self, rec: str | Path, idx: str | Path | None = None) -> None:
        self.path = Path(rec)
        self.idx = Path(idx) if idx is not None else self.path.with_suffix(".idx")
        try:
            with open(self.path, "rb") as file:
                self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except OSError as error:
            raise RecordError(f"{self.path}: cannot be read ({error.strerror}); give a .rec file") from error
        except ValueError as error:
            raise RecordError(f"{self.path}: the file is empty; re-copy it") from error
        self._view = memoryview(self._map)
        try:
            index = load_index(self.path, self.idx, self._view)
        except BaseException:
            self.close()
            raise
        self.keys: np.ndarray = index.keys
        self.offsets: np.ndarray = index.offsets

    def __len__(self) -> int:
        return len(self.keys)

    def __iter__(self) -> Iterator[Record]:
        for key, offset in zip(self.keys, self.offsets):
            yield read_record(self._view, int(offset), self.path, int(key))[0]

    def __enter__(self) -> RecordReader:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: BaseException | TracebackType | None) -> None:
        self.close()

    def __reduce__(self) -> tuple:
        return RecordReader, (self.path, self.idx)

    def close(self) -> None:
        """Let go of the file; payloads still held keep their bytes."""
        self._view.release()
        with contextlib.suppress(BufferError):  # someone holds a payload: the map goes with the last of them
            self._map.close()

    def offset(self, key: int) -> int:
        """Byte offset of the record of `key`; RecordError when there is none."""
        place = key - int(self.keys[0])
        if not (0 <= place < len(self.keys) and self.keys[place] == key):
            place = int(np.searchsorted(self.keys, key))
        if place == len(self.keys) or self.keys[place] != key:
            known = f"it has {len(self)} keys from {self.keys[0]} to {self.keys[-1]}"
            raise RecordError(f"{self.path}: key {key} is not in the index {self.idx}; {known}")
        return int(self.offsets[place])

    def read(self, key: int) -> Record:
        """The record of `key`; RecordError when it is missing or damaged."""
        key = int(key)
        return read_record(self._view, self.offset(key), self.path, key)[0]

    def span(self, key: int) -> tuple[int, int]:
        """Byte range [start, stop) of the record of `key`, padding included; RecordError as `read`."""
        key = int(key)
        start = self.offset(key)
        return start, read_body(self._view, start, self.path, key)[1]

    @property
    def num_bytes(self) -> int:
        """Size of the file."""
        return len(self._view)

    @cached_property
    def has_header(self) -> bool:
        """True for InsightFace's layout: a header at key 0, images, then a record without an image per identity."""
        return self.keys[0] == 0 and self.read(0).is_marker

    @cached_property
    def _image_places(self) -> tuple[int, int]:
        if not self.has_header:
            return 0, len(self)
        header = self.read(0)
        first_identity = float(header.labels[0])
        if not (1 < first_identity <= float(np.float32(self.keys[-1])) + 1):
            problem = f"the header puts identities at key {first_identity:g}, but keys end at {self.keys[-1]}"
            raise record_error(self.path, 0, header.offset, problem, REINDEX)
        stop = int(np.searchsorted(self.keys, int(first_identity)))
        if first_identity < EXACT_LABELS:
            return 1, stop
        # The number was rounded to float32, by less than this: the records around it tell where the images really end.
        reach = int(np.spacing(header.labels[0]))
        for place in range(max(1, stop - reach), min(len(self), stop + reach + 1)):
            if self.read(self.keys[place]).is_marker:
                return 1, place
        problem = f"no identity record is near key {first_identity:.0f}, where the header puts the first"
        raise record_error(self.path, 0, header.offset, problem, REINDEX)

    @property
    def image_keys(self) -> np.ndarray:
        """Keys (int64) of the records with an image, header and identity records left out; a view of `keys`."""
        start, stop = self._image_places
        return self.keys[start:stop]

    @cached_property
    def num_classes(self) -> int | None:
        """Number of identities by the `property` file beside the records, else by the identity records, else None."""
        beside = self.path.with_name("property")
        if beside.exists():
            first = beside.read_text(errors="replace").split(",")[0].strip()
            if not first.isdecimal():
                raise RecordError(f"{beside}: {first[:40]!r} is not a number of classes; write `classes,height,width`")
            return int(first)
        return len(self) - self._image_places[1] or None


class RecordWriter:
    """Writes `rec` and `idx` aside and renames both on a clean `close`; after an exception neither name is touched."""

    def __init__(self, rec: str | Path, idx: str | Path | None = None) -> None:
        self.path = Path(rec)
        self.idx = Path(idx) if idx is not None else self.path.with_suffix(".idx")
        if self.path == self.idx:
            raise InputError(f"{self.path}: records and index need two names; call the records something.rec")
        self._aside = [path.with_name(path.name + ".partial") for path in (self.path, self.idx)]
        self._keys = array("q")
        self._offset = 0
        self._files = []
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            for path in self._aside:
                self._files.append(open(path, "wb", buffering=1 << 20))  # noqa: SIM115 - closed by close or abort
        except BaseException:
            self.abort()
            raise

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
        records, index = self._files
        with naming(self.path):
            index.write(b"%d\t%d\n" % (key, self._offset))
            for piece in split_body(body):
                records.write(piece)
                self._offset += len(piece)
        self._keys.append(key)

    def close(self) -> None:
        """Give the files their names; InputError, and no files, when a key was used twice or there are no records."""
        if not self._files:
            return
        try:
            self._check_keys()
            with naming(self.path):
                for file in self._files:
                    file.flush()
                    os.fsync(file.fileno())
                    file.close()
            # Records never stand beside the index of their predecessor: without an index they are simply walked.
            self.idx.unlink(missing_ok=True)
            os.replace(self._aside[0], self.path)
            os.replace(self._aside[1], self.idx)
        finally:
            self.abort()

    def abort(self) -> None:
        """Drop what was written; no effect after `close`."""
        for file in self._files:
            with contextlib.suppress(OSError):  # a full disk fails again when the rest of the buffer is flushed
                file.close()
        self._files = []
        for path in self._aside:
            path.unlink(missing_ok=True)

    def _check_keys(self) -> None:
        if not self._keys:
            raise InputError(f"{self.path}: nothing was written; a record file needs at least one record")
        keys = np.sort(np.frombuffer(self._keys, np.int64))
        twice = np.flatnonzero(np.diff(keys) == 0)
        if len(twice):
            raise InputError(f"{self.path}: key {keys[twice[0]]} was written twice; give every record its own key")
