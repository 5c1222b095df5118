"""The bytes of one RecordIO record: frames, the label header, and what is wrong with a damaged one.

A frame is little-endian `uint32 magic | uint32 cflag << 29 | length | bytes | zeros up to a multiple of 4`. A record
that contains the magic at a 4-byte aligned position is cut there into frames with cflag 1 (first), 2 (middle) and
3 (last), the magic itself left out; cflag 0 is a whole record. The joined bytes are `uint32 flag | float32 label |
uint64 id | uint64 id2`, then `flag` float32 labels when flag > 0, then the payload (an encoded image).

Labels are float32 and so exact only below 2^24. The rule for larger ones: `id2` holds the exact first label. It is
believed only where it rounds to the stored float32, so files by other writers (id2 = 0) are never misread, and MXNet
reads ours with the rounding that it always had.
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
LABELS = 1 << 63  # labels are int64 everywhere else
FRAME = struct.Struct("<II")
HEADER = struct.Struct("<IfQQ")
FRAMED_HEADER = struct.Struct("<IIIfQQ")
WHOLE, FIRST, MIDDLE, LAST = range(4)

RECOPY = "the file is damaged or cut short: re-copy it"
REINDEX = "the .idx belongs to another .rec or one is damaged: re-copy both, or delete the .idx to have it rebuilt"
REPACK = "pack the set again with labels 0, 1, 2, ..."


class RecordError(InputError):
    """A record or index file is damaged: names the file, the key, the offset and what to do."""


def record_place(path: Path, key: int | None, offset: int) -> str:
    """The one wording of where a record lies; `key` is None where it is not known yet."""
    of_key = "" if key is None else f" key {key}"
    return f"{path}{of_key} at offset {offset}"


def record_error(path: Path, key: int | None, offset: int, problem: str, remedy: str) -> RecordError:
    """The one wording of errors in records."""
    return RecordError(f"{record_place(path, key, offset)}: {problem}; {remedy}")


@dataclass(frozen=True, slots=True)
class Record:
    """One record: `labels` float32 (n >= 1), `id`, `id2` uint64, `payload` encoded; `path`, `offset` locate it."""

    key: int
    labels: np.ndarray
    id: int
    id2: int
    payload: memoryview | bytes
    path: Path
    offset: int

    @property
    def label(self) -> int:
        """Class of the image, exact beyond 2^24; RecordError for a NaN, negative, fractional or rounded label."""
        value = float(self.labels[0])
        if not (0 <= value < LABELS and value.is_integer()):
            raise self.error(f"label {value:g} is not a class number", REPACK)
        if value < EXACT_LABELS:
            return int(value)
        if float(np.float32(self.id2)) != value:
            exact = f"float32 is exact below {EXACT_LABELS}"
            problem = f"label {value:.0f} may be rounded ({exact}) and id2 does not hold it"
            raise self.error(problem, "pack the set again with launch/records.py, which keeps large labels")
        return self.id2

    def label_below(self, num_classes: int | None) -> int:
        """`label`; RecordError when it is not below `num_classes` (None: not known)."""
        label = self.label
        if num_classes is not None and label >= num_classes:
            remedy = f"set num_classes or `property` to at least {label + 1}, or pack the set again"
            raise self.error(f"label {label} is outside the {num_classes} classes", remedy)
        return label

    @property
    def is_marker(self) -> bool:
        """True for InsightFace's header and identity records: two labels and no image."""
        return len(self.labels) >= 2 and len(self.payload) == 0

    def where(self) -> str:
        """File, key and offset, for error messages."""
        return record_place(self.path, self.key, self.offset)

    def error(self, problem: str, remedy: str) -> RecordError:
        """The error that says `problem` about this record."""
        return record_error(self.path, self.key, self.offset, problem, remedy)


def read_frame(view: memoryview, at: int, path: Path, key: int | None, offset: int) -> tuple[int, int, int]:
    """Return (cflag, start, stop) of the frame `at`, part of the record at `offset`; RecordError for a broken one."""
    if at < 0 or at + FRAME.size > len(view):
        raise record_error(path, key, offset, f"the file ends at {len(view)}, before the frame at {at} does", RECOPY)
    magic, word = FRAME.unpack_from(view, at)
    if magic != MAGIC:
        problem = f"no record begins at {at} (0x{magic:08x} is not 0x{MAGIC:08x})"
        raise record_error(path, key, offset, problem, REINDEX)
    start = at + FRAME.size
    stop = start + (word & MAX_BYTES)
    if stop > len(view):
        problem = f"{stop - start} bytes from {start} run past the end of the file at {len(view)}"
        raise record_error(path, key, offset, problem, RECOPY)
    return word >> 29, start, stop


def read_body(view: memoryview, offset: int, path: Path, key: int | None) -> tuple[memoryview, int]:
    """Return the joined bytes of the record at `offset`, a view of the file if it is whole, and the offset after it."""
    cflag, start, stop = read_frame(view, offset, path, key, offset)
    if cflag == WHOLE:
        return view[start:stop], stop + (start - stop) % 4
    if cflag != FIRST:
        known = "part of a split record, not its beginning" if cflag <= LAST else "unknown"
        problem = f"its part flag is {cflag}: {known}"
        raise record_error(path, key, offset, problem, REINDEX)
    body = bytearray(view[start:stop])  # not a list of parts: a damaged record may have a million empty ones
    while cflag != LAST:
        if (stop - start) % 4:
            problem = f"a part of a split record has {stop - start} bytes, not a multiple of 4"
            raise record_error(path, key, offset, problem, RECOPY)
        cflag, start, stop = read_frame(view, stop, path, key, offset)
        if cflag not in (MIDDLE, LAST):
            problem = f"a split record lacks its last part (part flag {cflag} at offset {start - FRAME.size})"
            raise record_error(path, key, offset, problem, RECOPY)
        body += MAGIC_BYTES
        body += view[start:stop]
    return memoryview(body).toreadonly(), stop + (start - stop) % 4


def read_header(body: memoryview | bytes, offset: int, path: Path, key: int | None) -> tuple[int, float, int, int]:
    """Return (flag, label, id, id2) of a record's joined bytes; RecordError when they are too few."""
    if len(body) < HEADER.size:
        problem = f"{len(body)} bytes are too few for the label header of {HEADER.size}"
        raise record_error(path, key, offset, problem, RECOPY)
    return HEADER.unpack_from(body)


def read_record(view: memoryview, offset: int, path: Path, key: int) -> tuple[Record, int]:
    """Return the record at `offset` and the offset after it; RecordError for all damage that the format can show."""
    body, after = read_body(view, offset, path, key)
    return parse_body(body, offset, path, key), after


def plain_sample(view: memoryview, offset: int) -> tuple[memoryview, int, int] | None:
    """(payload, label, offset after it) of a record in one frame, with one label below 2^24; None for any other.

    As `read_record`, for the many records that are like this, in a third of the time: two threads that decode wait for
    each other while Python works.
    """
    start = offset + FRAMED_HEADER.size
    if start > len(view):
        return None
    magic, word, flag, label, _, _ = FRAMED_HEADER.unpack_from(view, offset)
    stop = offset + FRAME.size + word
    is_whole = magic == MAGIC and word <= MAX_BYTES and start <= stop <= len(view)  # a part flag makes the word larger
    if not is_whole or flag or not 0 <= label < EXACT_LABELS:
        return None
    exact = int(label)
    return (view[start:stop], exact, stop + -word % 4) if exact == label else None


def parse_body(body: memoryview | bytes, offset: int, path: Path, key: int) -> Record:
    """The record whose joined bytes are `body`; RecordError when they do not hold what they announce."""
    flag, label, id_, id2 = read_header(body, offset, path, key)
    start = HEADER.size + 4 * flag
    if start > len(body):
        problem = f"{flag} labels are announced, which do not fit in {len(body)} bytes"
        raise record_error(path, key, offset, problem, RECOPY)
    labels = np.frombuffer(body, "<f4", flag, HEADER.size).copy() if flag else np.array([label], np.float32)
    return Record(key, labels, id_, id2, body[start:], path, offset)


def pack_body(payload: bytes | memoryview, labels: float | Sequence[float] | np.ndarray, id: int, id2: int) -> bytes:
    """Join label header and payload: a number is written with flag 0, a row of n numbers with flag n.

    InputError for labels that would not be read back as they are.
    """
    values = np.asarray(labels, dtype=np.float64)
    if values.ndim > 1 or not values.size or not np.isfinite(values).all():
        raise InputError(f"labels {labels!r} are not finite; give the class as a number, or a row of numbers")
    scalar, values = values.ndim == 0, np.atleast_1d(values)
    first = int(values[0])
    if first >= EXACT_LABELS:
        if id2 not in (0, first):
            raise InputError(f"label {first} must be kept in id2 (float32 rounds it), but id2 is {id2}; leave id2 at 0")
        id2 = first
    if any(abs(value) >= EXACT_LABELS and value != np.float32(value) for value in values[1:]):
        raise InputError(f"labels {labels!r}: only the first is kept exactly above {EXACT_LABELS}; round the others")
    if not (0 <= id < 1 << 64 and 0 <= id2 < 1 << 64):
        raise InputError(f"id {id} and id2 {id2} do not fit in 64 bits; use numbers from 0 to 2^64 - 1")
    if HEADER.size + 4 * values.size + len(payload) > MAX_BYTES:
        raise InputError(f"a record holds at most {MAX_BYTES} bytes, not {len(payload)}; store a smaller image")
    row = values.astype("<f4")
    if scalar:
        return HEADER.pack(0, row[0], id, id2) + payload
    return HEADER.pack(row.size, 0.0, id, id2) + row.tobytes() + payload


def split_body(body: bytes) -> Iterator[bytes]:
    """Yield the byte strings that together are the record of `body`, cut at aligned magics exactly as MXNet does."""
    begin, cflag, found = 0, FIRST, body.find(MAGIC_BYTES)
    while found >= 0:
        if found % 4:
            found = body.find(MAGIC_BYTES, found + 1)
            continue
        yield FRAME.pack(MAGIC, cflag << 29 | found - begin)
        yield body[begin:found]
        begin, cflag = found + 4, MIDDLE
        found = body.find(MAGIC_BYTES, begin)
    yield FRAME.pack(MAGIC, (WHOLE if cflag == FIRST else LAST) << 29 | len(body) - begin)
    yield body[begin:]
    yield bytes(-len(body) % 4)
