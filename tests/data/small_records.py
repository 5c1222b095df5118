"""Small record files for tests: MXNet's, ours, and frames by hand."""

from __future__ import annotations

import json
import struct
from pathlib import Path

from recognition.data.record_format import MAGIC_BYTES
from recognition.data.recordio import RecordWriter
from tests.conftest import FIXTURES

RECORDS = FIXTURES / "recordio"
EXPECTED = json.loads((RECORDS / "expected.json").read_text())
LAYOUTS = sorted(EXPECTED)


def frame(body: bytes, cflag: int = 0) -> bytes:
    return MAGIC_BYTES + struct.pack("<I", cflag << 29 | len(body)) + body + bytes(-len(body) % 4)


def body(label: float = 0.0, payload: bytes = b"jpeg", flag: int = 0) -> bytes:
    return struct.pack("<IfQQ", flag, label, 0, 0) + payload


def write_files(folder: Path, rec: bytes, idx: bytes | None = b"0\t0\n") -> Path:
    (folder / "train.rec").write_bytes(rec)
    if idx is not None:
        (folder / "train.idx").write_bytes(idx)
    return folder / "train.rec"


def small_set(folder: Path, *, checks: bool = True) -> Path:
    """InsightFace layout with scalar labels, label vectors, odd lengths and payloads that must be split."""
    payloads = [bytes(range(n)) for n in (0, 1, 17, 40)] + [MAGIC_BYTES, b"abcd" + MAGIC_BYTES * 2 + b"xyz", b"e" * 9]
    with RecordWriter(folder / "train.rec") as writer:
        writer.write(0, b"", [8, 10])
        for key, payload in enumerate(payloads, start=1):
            writer.write(key, payload, [key % 2, 0.5] if key % 3 == 0 else key % 2, id=key)
        writer.write(8, b"", [1, 4], id=8)
        writer.write(9, b"", [4, 8], id=9)
    if not checks:
        (folder / "train.crc").unlink()
    return folder / "train.rec"
