"""Checks of a record file: a CRC-32 and the exact label of every record, in `train.crc` beside `train.rec`.

A little-endian header of 64 bytes (HEAD, then its own CRC-32), then two columns in ascending order of the keys: labels
(int64) and CRCs (uint32). The columns are memory-mapped, so 42 million records open in no time. The header has a CRC-32
of each and of the keys, which is looked at when a column is read as a whole or contradicts the records.

The CRC of a record begins with its key and covers its bytes in the file from the first frame to the end of the
padding. So it finds a wrong byte in the .rec and a wrong digit in the .idx alike: what a key leads to is another record
then, or the same one under another key. Files by other writers have no checks; `write_checks` makes them.
"""

from __future__ import annotations

import mmap
import struct
import zlib
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
from tqdm import tqdm

from recognition.atomic import replacing
from recognition.data.mapping import cut_short
from recognition.data.record_format import Record, RecordError, record_error

if TYPE_CHECKING:
    from recognition.data.recordio import RecordReader

MAGIC = b"arcscale check 1"
# Magic, number of records, bytes of the .rec, CRC-32 of keys (int64), of labels, of CRCs.
HEAD = struct.Struct("<16sqqIII16x")
HEAD_BYTES = HEAD.size + 4
ROW_BYTES = 8 + 4

# What the column of labels says of records that have none.
NO_IMAGE = -1  # header and identity records
NO_CLASS = -2  # NaN, negative, fractional, or rounded to float32

REWRITE = "delete it and have launch/records.py verify --write-checks make it anew"
RECOPY_BOTH = "the .rec or its .idx is damaged: re-copy both"


def checks_path(rec: Path) -> Path:
    """Where the checks of `rec` lie."""
    return rec.with_suffix(".crc")


def crc_of_key(key: int) -> int:
    """What the CRC of the record of `key` begins with."""
    return zlib.crc32(key.to_bytes(8, "little"))


def stored_label(record: Record) -> int:
    """The label of `record` in [0, 2^63), or one of the negative codes above."""
    if record.is_marker:
        return NO_IMAGE
    try:
        return record.label
    except RecordError:
        return NO_CLASS


class RecordChecks:
    """Labels and CRCs of the records of one file, by their place among the ascending keys."""

    def __init__(self, path: Path, mapped: mmap.mmap, num_records: int, sums: tuple[int, int, int]) -> None:
        self.path, self._map = path, mapped
        self._labels = np.frombuffer(mapped, "<i8", num_records, HEAD_BYTES)
        self._crcs = np.frombuffer(mapped, "<u4", num_records, HEAD_BYTES + 8 * num_records)
        self._keys_sum, self._labels_sum, self._crcs_sum = sums

    def labels(self, keys: np.ndarray) -> np.ndarray:
        """int64 (n,) of the records of `keys` (all of the file's), read-only; negative codes where there is none.

        RecordError when the labels are damaged or of other keys.
        """
        self._require_whole()
        if zlib.crc32(self._labels) != self._labels_sum:
            raise self._changed()
        if zlib.crc32(np.ascontiguousarray(keys, "<i8")) != self._keys_sum:
            raise RecordError(f"{self.path}: was made of other keys than the index has; re-copy both, or {REWRITE}")
        return self._labels

    def hold(self, span: memoryview, place: int, key: int) -> bool:
        """Whether `span`, the record of `key`, is the one that was written."""
        return cut_short(self._map) is None and zlib.crc32(span, crc_of_key(key)) == self._crcs[place]

    def check(self, span: memoryview, place: int, *, rec: Path, key: int, offset: int) -> None:
        """RecordError unless `span`, the record of `key` at `offset` of `rec`, is the one that was written."""
        if self.hold(span, place, key):
            return
        self._require_whole()
        if not self._crcs_are_sound:
            raise self._changed()
        problem = f"the record is not the one that {self.path.name} knows (CRC-32)"
        raise record_error(rec, key, offset, problem, RECOPY_BOTH)

    def _require_whole(self) -> None:
        if problem := cut_short(self._map):
            raise RecordError(f"{self.path}: {problem}; re-copy it, or {REWRITE}")

    @cached_property
    def _crcs_are_sound(self) -> bool:
        # Looked at once, not for each of a million damaged records.
        return zlib.crc32(self._crcs) == self._crcs_sum

    def _changed(self) -> RecordError:
        return RecordError(f"{self.path}: its bytes have changed since it was written; re-copy it, or {REWRITE}")


def open_checks(rec: Path, *, num_records: int, num_bytes: int) -> RecordChecks | None:
    """The checks beside `rec`, which has that many records and bytes; None where there are none.

    RecordError for checks that are damaged or of another file: silence would pass for "all is well".
    """
    path = checks_path(rec)
    try:
        with open(path, "rb") as file:
            head = file.read(HEAD_BYTES)
            size = file.seek(0, 2)
            if len(head) < HEAD_BYTES or not head.startswith(MAGIC):
                raise RecordError(f"{path}: holds no checks of records, or those of another version; {REWRITE}")
            if zlib.crc32(head[: HEAD.size]) != int.from_bytes(head[HEAD.size :], "little"):
                raise RecordError(f"{path}: its first {HEAD_BYTES} bytes are damaged; re-copy it, or {REWRITE}")
            _, count, rec_bytes, *sums = HEAD.unpack(head[: HEAD.size])
            if (count, rec_bytes) != (num_records, num_bytes):
                raise RecordError(
                    f"{path}: was made of {count} records in {rec_bytes} bytes, but {rec.name} has {num_records} in "
                    f"{num_bytes}: one of them is cut short or of another set; re-copy both and the .idx; if this is "
                    f"the .rec that you want, {REWRITE}"
                )
            expected = HEAD_BYTES + ROW_BYTES * count
            if size != expected:
                raise RecordError(f"{path}: has {size} bytes, not {expected}; re-copy it, or {REWRITE}")
            mapped = mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise RecordError(f"{path}: cannot be read ({error.strerror}); make it readable, or {REWRITE}") from error
    return RecordChecks(path, mapped, count, sums)


def save_checks(file: BinaryIO, keys: np.ndarray, labels: np.ndarray, crcs: np.ndarray, *, rec_bytes: int) -> None:
    """Write the checks of a .rec of `rec_bytes`; `keys` (n,) ascending, `labels` and `crcs` in their order."""
    columns = [np.ascontiguousarray(column, kind) for column, kind in ((keys, "<i8"), (labels, "<i8"), (crcs, "<u4"))]
    head = HEAD.pack(MAGIC, len(keys), rec_bytes, *(zlib.crc32(column) for column in columns))
    file.write(head + zlib.crc32(head).to_bytes(4, "little"))
    for column in columns[1:]:
        file.write(column.data)


def write_checks(reader: RecordReader) -> Path:
    """Make the checks of a set that has none, and return where they lie; RecordError for a record that is damaged.

    Every record is read once. From then on the set counts as sound as it is now: look at its images first.
    """
    path = checks_path(reader.path)
    labels, crcs = np.empty(len(reader), np.int64), np.empty(len(reader), np.uint32)
    # In the order of the file, which may lie on a disk that turns.
    order = tqdm(np.argsort(reader.offsets, kind="stable"), f"checks of {reader.path}", unit="record", disable=None)
    for place in order:
        key = int(reader.keys[place])
        labels[place] = stored_label(reader.read(key))
        crcs[place] = zlib.crc32(reader.frames(key), crc_of_key(key))
    with replacing(path) as partial, open(partial, "wb") as file:
        save_checks(file, reader.keys, labels, crcs, rec_bytes=reader.num_bytes)
    return path
