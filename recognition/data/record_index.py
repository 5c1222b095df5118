"""Where each record begins: `.idx` files, parsed fast and cached in binary, or rebuilt from the records themselves."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from recognition.data.record_format import HEADER, RecordError, read_body, record_error


@dataclass(frozen=True, slots=True)
class RecordIndex:
    """`keys` int64 (n,) ascending and `offsets` int64 (n,) in bytes, both perhaps memory-mapped."""

    keys: np.ndarray
    offsets: np.ndarray


def load_index(rec: Path, idx: Path, view: memoryview) -> RecordIndex:
    """Index of `rec` from `idx`, or from the records where `idx` is missing."""
    if not idx.exists():
        return scan_records(view, rec)
    pairs = np.array(idx.read_text().split(), dtype=np.int64).reshape(-1, 2)
    order = np.argsort(pairs[:, 0], kind="stable")
    return RecordIndex(pairs[order, 0], pairs[order, 1])


def scan_records(view: memoryview, rec: Path) -> RecordIndex:
    """Walk the records; the keys are the records' ids where these are all different, else 0, 1, 2, ..."""
    ids, offsets, offset = [], [], 0
    while offset < len(view):
        body, after = read_body(view, offset, rec, None)
        if len(body) < HEADER.size:
            raise record_error(rec, None, offset, "record is too short for a label header", "re-copy the file")
        ids.append(HEADER.unpack_from(body)[2])
        offsets.append(offset)
        offset = after
    keys = np.array(ids, dtype=np.uint64).astype(np.int64)
    if len(np.unique(keys)) != len(keys):
        keys = np.arange(len(keys))
    order = np.argsort(keys, kind="stable")
    return RecordIndex(keys[order], np.array(offsets, dtype=np.int64)[order])


__all__ = ["RecordError", "RecordIndex", "load_index", "scan_records"]
