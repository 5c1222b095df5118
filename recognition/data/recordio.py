"""RecordIO files as MXNet, im2rec and InsightFace write them: read without MXNet, by key, from any number of threads; and written."""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from types import TracebackType

import numpy as np

from recognition.data.record_format import Record, RecordError, read_record
from recognition.data.record_index import load_index

__all__ = ["Record", "RecordError", "RecordReader", "RecordWriter"]


class RecordReader:
    """Records of `rec` by key; `idx` defaults to the `.idx` beside it and is rebuilt in memory when it is missing.

    Reads are slices of one memory map, so threads and forked processes share a reader without locks. Payloads are views of the file:
    they stay valid while anyone holds them, also after `close`.
    """

    def __init__(self, rec: str | Path, idx: str | Path | None = None) -> None:
        self.path = Path(rec)
        self.idx = Path(idx) if idx is not None else self.path.with_suffix(".idx")
        try:
            with open(self.path, "rb") as file:
                self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except OSError as error:
            raise RecordError(f"{self.path}: cannot be opened ({error.strerror}); give the path of a .rec file") from error
        except ValueError as error:
            raise RecordError(f"{self.path}: the file is empty; re-copy it") from error
        self._view = memoryview(self._map)
        self._index = load_index(self.path, self.idx, self._view)
        self.keys: np.ndarray = self._index.keys
        self.offsets: np.ndarray = self._index.offsets

    def __len__(self) -> int:
        return len(self.keys)

    def __iter__(self) -> Iterator[Record]:
        for key, offset in zip(self.keys, self.offsets):
            yield read_record(self._view, int(offset), self.path, int(key))[0]

    def __enter__(self) -> RecordReader:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def __reduce__(self) -> tuple:
        return RecordReader, (self.path, self.idx)

    def close(self) -> None:
        """Let go of the file; payloads still held keep their bytes."""
        self._view.release()
        try:
            self._map.close()
        except BufferError:
            pass  # someone holds a payload: the map closes when the last of them goes

    def offset(self, key: int) -> int:
        """Byte offset of the record of `key`; RecordError when there is none."""
        first = int(self.keys[0])
        place = key - first if 0 <= key - first < len(self.keys) and self.keys[key - first] == key else int(np.searchsorted(self.keys, key))
        if place >= len(self.keys) or self.keys[place] != key:
            raise RecordError(f"{self.path}: key {key} is not in the index {self.idx} ({len(self)} keys, {first} to {self.keys[-1]}); use one of `keys`")
        return int(self.offsets[place])

    def read(self, key: int) -> Record:
        """The record of `key`; RecordError when it is missing or damaged."""
        key = int(key)
        return read_record(self._view, self.offset(key), self.path, key)[0]

    @cached_property
    def _image_range(self) -> tuple[int, int]:
        """Places [start, stop) of the image records within `keys`."""
        header = self.read(self.keys[0])
        if not (header.key == 0 and header.is_marker):
            return 0, len(self)
        stop = int(np.searchsorted(self.keys, int(header.labels[0])))
        return 1, stop

    @property
    def image_keys(self) -> np.ndarray:
        """Keys (int64) of the records with an image: header and identity records left out; a view of `keys`."""
        return self.keys[slice(*self._image_range)]

    @cached_property
    def num_classes(self) -> int | None:
        """Number of identities from `property` beside the file, else from the identity records, else None."""
        beside = self.path.with_name("property")
        if beside.exists():
            return int(beside.read_text().split(",")[0])
        return len(self) - self._image_range[1] or None


class RecordWriter:
    """Placeholder until the writer lands."""
