"""The bytes of one RecordIO record: frames, InsightFace's label header, and what is wrong with a damaged one.

A frame is little-endian `uint32 magic | uint32 (cflag << 29 | length) | bytes | zeros up to a multiple of 4`. A payload that holds the magic
at a 4-byte aligned position is cut there into frames with cflag 1 (first), 2 (middle), 3 (last), the magic itself left out; cflag 0 is whole.
The joined bytes are `uint32 flag | float32 label | uint64 id | uint64 id2`, then `flag` float32 labels when flag > 0, then the payload.

Labels are float32 and so exact only below 2^24. Rule for larger ones: `id2` holds the exact first label. It is believed only where it rounds
to the stored float32, so files by other writers (id2 = 0) are never misread, and MXNet reads ours with the rounding it always had.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from recognition.errors import InputError

MAGIC = 0xCED7230A
MAGIC_BYTES = struct.pack("<I", MAGIC)
MAX_BYTES = (1 << 29) - 1
EXACT_LABELS = 1 << 24
FRAME = struct.Struct("<II")
HEADER = struct.Struct("<IfQQ")
WHOLE, FIRST, MIDDLE, LAST = range(4)


class RecordError(InputError):
    """A record or index file is damaged: names the file, the key, the offset and what to do."""


def record_error(path: Path, key: int | None, offset: int, problem: str, remedy: str) -> RecordError:
    """The one wording of all record errors; `key` is None where it is not known yet."""
    of_key = "" if key is None else f" key {key}"
    return RecordError(f"{path}:{of_key} at offset {offset}: {problem}; {remedy}")


RECOPY = "the file is damaged or cut short: re-copy it"
REINDEX = "the .idx does not belong to this .rec, or one of them is damaged: re-copy both, or delete the .idx to have it rebuilt"


@dataclass(frozen=True, slots=True)
class Record:
    """One record: `labels` float32 (at least one), `id`, `id2` uint64, `payload` encoded image bytes; `path`, `offset` say where it lies."""

    key: int
    labels: np.ndarray
    id: int
    id2: int
    payload: memoryview | bytes
    path: Path
    offset: int

    @property
    def label(self) -> int:
        """Class of the image, exact beyond 2^24 by the id2 rule; RecordError for NaN, negative, fractional or rounded labels."""
        value = float(self.labels[0])
        if not (value >= 0 and value.is_integer()):
            problem = f"label {value:g} is not a class number"
            raise record_error(self.path, self.key, self.offset, problem, "pack the set again with labels 0, 1, 2, ...")
        if value < EXACT_LABELS:
            return int(value)
        if np.float32(self.id2) == self.labels[0]:
            return self.id2
        problem = f"label {value:.0f} is rounded, float32 is exact only below {EXACT_LABELS}"
        raise record_error(self.path, self.key, self.offset, problem, "pack the set again with launch/records.py, which keeps large labels")

    @property
    def is_marker(self) -> bool:
        """True for InsightFace's header and identity records: two labels and no image."""
        return len(self.labels) >= 2 and len(self.payload) == 0


def read_frame(view: memoryview, offset: int, path: Path, key: int | None) -> tuple[int, int, int]:
    """(cflag, start, stop) of the frame at `offset`; RecordError when it is not one or does not fit the file."""
    if offset < 0 or offset + FRAME.size > len(view):
        raise record_error(path, key, offset, f"the file ends at {len(view)}, before this record", REINDEX)
    magic, word = FRAME.unpack_from(view, offset)
    if magic != MAGIC:
        raise record_error(path, key, offset, f"no record starts here (found 0x{magic:08x}, not 0x{MAGIC:08x})", REINDEX)
    start = offset + FRAME.size
    stop = start + (word & MAX_BYTES)
    if stop > len(view):
        raise record_error(path, key, offset, f"record of {stop - start} bytes runs past the end of the file at {len(view)}", RECOPY)
    return word >> 29, start, stop


def read_body(view: memoryview, offset: int, path: Path, key: int | None) -> tuple[memoryview | bytes, int]:
    """Joined bytes of the record at `offset` (a view of the file when it is whole) and the offset after it."""
    cflag, start, stop = read_frame(view, offset, path, key)
    if cflag == WHOLE:
        return view[start:stop], stop + (-stop & 3)
    if cflag != FIRST:
        problem = f"this is part {cflag} of a split record, not its beginning" if cflag <= LAST else f"unknown part flag {cflag}"
        raise record_error(path, key, offset, problem, REINDEX)
    parts = [view[start:stop]]
    while cflag != LAST:
        if stop & 3:
            raise record_error(path, key, offset, "a split record has a part of odd length", RECOPY)
        cflag, start, stop = read_frame(view, stop, path, key)
        if cflag not in (MIDDLE, LAST):
            raise record_error(path, key, offset, f"split record lacks its last part: part flag {cflag} at {start - FRAME.size}", RECOPY)
        parts.append(view[start:stop])
    return MAGIC_BYTES.join(parts), stop + (-stop & 3)


def read_record(view: memoryview, offset: int, path: Path, key: int) -> tuple[Record, int]:
    """The record at `offset` and the offset after it; RecordError for every kind of damage that the format can show."""
    body, after = read_body(view, offset, path, key)
    if len(body) < HEADER.size:
        raise record_error(path, key, offset, f"{len(body)} bytes are too few for the {HEADER.size}-byte label header", RECOPY)
    flag, label, id_, id2 = HEADER.unpack_from(body)
    start = HEADER.size + 4 * flag
    if start > len(body):
        raise record_error(path, key, offset, f"announces {flag} labels, which do not fit in its {len(body)} bytes", RECOPY)
    labels = np.frombuffer(body, "<f4", flag, HEADER.size).copy() if flag else np.array([label], np.float32)
    return Record(key, labels, id_, id2, body[start:], path, offset), after


def pack_body(payload: bytes | memoryview, labels: float | Sequence[float] | np.ndarray, id: int, id2: int) -> bytes:
    """Label header + payload; a number gives flag 0, a sequence of n gives flag n. InputError for labels that would be read back wrong."""
    values = np.atleast_1d(np.asarray(labels, dtype=np.float64))
    if values.ndim != 1 or not values.size or not np.isfinite(values).all():
        raise InputError(f"labels {labels!r} are not a number or a non-empty row of finite numbers; give the class as a number")
    first = int(values[0])
    if first >= EXACT_LABELS:
        if id2 not in (0, first):
            raise InputError(f"label {first} needs id2 to be kept exactly (float32 is exact below {EXACT_LABELS}), but id2 is {id2}; leave id2 at 0")
        id2 = first
    large = values[1:][np.abs(values[1:]) >= EXACT_LABELS]
    if (large != large.astype(np.float32)).any():
        raise InputError(f"labels {labels!r}: only the first may exceed {EXACT_LABELS}, where float32 rounds; round the others yourself")
    if not (0 <= id < 1 << 64 and 0 <= id2 < 1 << 64):
        raise InputError(f"id {id} and id2 {id2} must fit in 64 bits without sign; use numbers from 0 to 2^64 - 1")
    row = values.astype("<f4")
    if np.ndim(labels) == 0:
        return HEADER.pack(0, row[0], id, id2) + bytes(payload)
    return HEADER.pack(row.size, 0.0, id, id2) + row.tobytes() + bytes(payload)


def frames(body: bytes) -> Iterator[bytes]:
    """The byte strings that, written one after the other, are the record of `body`; split at aligned magics as MXNet does."""
    if len(body) > MAX_BYTES:
        raise InputError(f"a record holds at most {MAX_BYTES} bytes, this one has {len(body)}; store a smaller image")
    begin, cflag, found = 0, FIRST, body.find(MAGIC_BYTES)
    while found >= 0:
        if found & 3:
            found = body.find(MAGIC_BYTES, found + 1)
            continue
        yield FRAME.pack(MAGIC, cflag << 29 | found - begin)
        yield body[begin:found]
        begin, cflag = found + 4, MIDDLE
        found = body.find(MAGIC_BYTES, begin)
    yield FRAME.pack(MAGIC, (WHOLE if begin == 0 else LAST) << 29 | len(body) - begin)
    yield body[begin:]
    yield bytes(-len(body) & 3)
