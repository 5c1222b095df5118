"""Where each record begins: an `.idx` file, parsed fast and cached in binary, or rebuilt from the records themselves.

The cache (row_cache.py) is `train.idx.cache` beside the `.idx`. It holds the size and modification time of the `.idx`
and the `.rec`, and when any of them differs it is built again.
"""

from __future__ import annotations

import os
import re
from array import array
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from recognition.data.record_format import MAGIC_BYTES, REINDEX, RecordError, read_body, read_header, record_error
from recognition.data.row_cache import cached_rows

CACHE_MAGIC = b"arcscale index 2"
CACHE_FROM = 100_000  # records; below, parsing takes milliseconds and a cache file would only be clutter
CHUNK_BYTES = 1 << 16  # the digits of a chunk and their positions stay in a core's cache
MAX_DIGITS = 18  # what always fits in int64
LINE = re.compile(rb"\d{1,%d}\t\d{1,%d}\r?" % (MAX_DIGITS, MAX_DIGITS))


@dataclass(frozen=True, slots=True)
class RecordIndex:
    """`keys` int64 (n,) strictly ascending and `offsets` int64 (n,) in bytes; memory-mapped when cached."""

    keys: np.ndarray
    offsets: np.ndarray


def load_index(rec: Path, idx: Path, view: memoryview) -> RecordIndex:
    """Return the index of `rec` (whose bytes are `view`): cached, else from `idx`, else from a walk over the records.

    RecordError when the index is malformed, names a key twice or points past the end of `rec`.
    """

    def find() -> tuple[np.ndarray, np.ndarray]:
        if (idx == rec or not idx.exists()) and view[: len(MAGIC_BYTES)] != MAGIC_BYTES:
            raise RecordError(f"{rec}: does not begin as a record file does; give a .rec file, or re-copy this one")
        index = _in_order(parse_idx(idx), idx) if idx.exists() else _in_order(scan_records(view, rec), rec)
        past = int(np.argmax(index.offsets))
        if index.offsets[past] >= len(view):
            problem = f"the index {idx} points past the end of the file at {len(view)}"
            raise record_error(rec, int(index.keys[past]), int(index.offsets[past]), problem, REINDEX)
        return index.keys, index.offsets

    keys, offsets = cached_rows(idx, find, magic=CACHE_MAGIC, made_from=(idx, rec), least=CACHE_FROM)
    return RecordIndex(keys, offsets)


def parse_idx(idx: Path) -> RecordIndex:
    """Parse lines `key<TAB>offset` of decimal digits, in file order; RecordError naming the first malformed line."""
    keys, offsets, rest = array("q"), array("q"), b""
    with open(idx, "rb") as file, _progress(f"index {idx.name}", os.path.getsize(idx)) as bar:
        while chunk := file.read(CHUNK_BYTES):
            bar.update(len(chunk))
            lines, newline, rest = (rest + chunk).rpartition(b"\n")
            if newline:
                _parse_lines(lines + newline, keys, offsets, idx)
            elif len(rest) > CHUNK_BYTES:
                raise _bad_line(idx, rest, len(keys))
        if rest:
            _parse_lines(rest + b"\n", keys, offsets, idx)
    if not keys:
        raise RecordError(f"{idx}: the index is empty; re-copy it, or delete it to have it rebuilt from the records")
    return RecordIndex(np.frombuffer(keys, np.int64), np.frombuffer(offsets, np.int64))


def _parse_lines(lines: bytes, keys: array, offsets: array, idx: Path) -> None:
    if b"\r" in lines:
        lines = lines.replace(b"\r\n", b"\n")
    digits = np.frombuffer(lines, np.uint8) - np.uint8(ord("0"))  # separators wrap round to values above 9
    ends = np.flatnonzero(digits > 9).astype(np.int32)
    widths = np.diff(ends, prepend=np.int32(-1)) - 1
    tabs, newlines = lines.count(b"\t"), lines.count(b"\n")
    separators = digits[ends] + np.uint8(ord("0"))
    regular = len(ends) == tabs + newlines and len(ends) % 2 == 0
    if not (regular and (separators[0::2] == ord("\t")).all() and (separators[1::2] == ord("\n")).all()):
        raise _bad_line(idx, lines, len(keys))
    if widths.min() < 1 or widths.max() > MAX_DIGITS:
        raise _bad_line(idx, lines, len(keys))
    keys.frombytes(_numbers(digits, ends[0::2], widths[0::2]).tobytes())
    offsets.frombytes(_numbers(digits, ends[1::2], widths[1::2]).tobytes())


def _numbers(digits: np.ndarray, ends: np.ndarray, widths: np.ndarray) -> np.ndarray:
    values, narrowest = np.zeros(len(ends), np.int64), widths.min()
    for place in range(int(widths.max())):
        has = slice(None) if place < narrowest else np.flatnonzero(widths > place)
        values[has] += digits[ends[has] - (1 + place)].astype(np.int64) * 10**place
    return values


def _bad_line(idx: Path, lines: bytes, lines_before: int) -> RecordError:
    for number, line in enumerate(lines.split(b"\n"), start=lines_before + 1):
        if not LINE.fullmatch(line):
            shown = line[:40].decode("ascii", "backslashreplace")
            return RecordError(
                f"{idx}: line {number} is {shown!r}, not `key<TAB>offset`; "
                f"re-copy the index, or delete it to have it rebuilt from the records"
            )
    return RecordError(f"{idx}: is not an index of `key<TAB>offset` lines; re-copy it")


def scan_records(view: memoryview, rec: Path) -> RecordIndex:
    """Walk over the records of `rec`; the keys are the records' ids where these all differ, else 0, 1, 2, ..."""
    ids, offsets, offset = array("Q"), array("q"), 0
    with _progress(f"no index: reading {rec.name}", len(view)) as bar:
        while offset < len(view):
            body, after = read_body(view, offset, rec, None)
            ids.append(read_header(body, offset, rec, None)[2])
            offsets.append(offset)
            if len(ids) % 4096 == 0:
                bar.update(after - bar.n)
            offset = after
    keys = np.frombuffer(ids, np.uint64)
    if keys.max() >> np.uint64(63) or len(np.unique(keys)) < len(keys):
        keys = np.arange(len(keys))
    return RecordIndex(keys.astype(np.int64), np.frombuffer(offsets, np.int64))


def _in_order(index: RecordIndex, path: Path) -> RecordIndex:
    if (index.keys[1:] > index.keys[:-1]).all():
        return index
    order = np.argsort(index.keys, kind="stable")
    keys = index.keys[order]
    twice = np.flatnonzero(np.diff(keys) == 0)
    if len(twice):
        raise RecordError(f"{path}: key {keys[twice[0]]} occurs more than once; re-copy the index, or delete it")
    return RecordIndex(keys, index.offsets[order])


def _progress(what: str, total_bytes: int) -> tqdm:
    # Silent for files that take less than two seconds and where nobody watches.
    return tqdm(total=total_bytes, desc=what, unit="B", unit_scale=True, delay=2, disable=None, leave=False)
