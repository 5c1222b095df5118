"""Opening a set of tens of millions of records: its index parsed for the first time, cached, and parsed line by line.

The set is a sparse file: only the header and the last records, which an opening looks at, are there. Figures are taken
in fresh processes, above what these held before.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from recognition.benchmarks.clock import Timing, timed_step
from recognition.benchmarks.data_baseline import parsed_by_line
from recognition.benchmarks.memory import Peak
from recognition.benchmarks.settings import Settings
from recognition.data.record_format import pack_body, split_body
from recognition.data.sources import RecordSource
from recognition.errors import InputError
from recognition.runtime import Runtime

RECORDS = 42_500_000
# Lines that are parsed one by one; time and memory of all are this many times more.
LINES = 2_000_000
RECORD_BYTES = 6144
IDENTITIES = 8
# Above 2^24 the header's float32 is off by a few, so that an opening reads the records around the last image.
REAL_IMAGES = 16
PARSED, BUILT, CACHED = "parsed line by line", "first opening", "cached"
_LINE_BYTES, _CACHED_BYTES, _SLACK_BYTES = 24, 16, 1_000_000_000
_LINES_AT_ONCE = 100_000


class Opened(NamedTuple):
    """What an opening took, the most memory that it held, and what it holds once every record was looked up."""

    timing: Timing
    peak_bytes: int
    used_bytes: int


def bench_index(settings: Settings, *, records: int, folder: Path, lines: int = LINES) -> list[dict[str, Any]]:
    """A row for each way to open; the files are made below `folder` and removed."""
    require_room(folder, records)
    with sparse_set(folder, min(lines, records)) as rec:
        parsed = settings.apart(opened, partial(parsed_by_line, rec.with_suffix(".idx")), len)[0]
    scale = records / min(lines, records)
    with sparse_set(folder, records) as rec:
        built, cached = opened_twice(settings, rec)
    rows = []
    for way, seen, factor in ((PARSED, parsed, scale), (BUILT, built, 1), (CACHED, cached, 1)):
        row = {"index": way, "records": records, "scaled from": int(records / factor) if factor > 1 else None}
        row |= {"wall s": seen.timing.wall_s * factor, "CPU s": seen.timing.cpu_s * factor}
        rows.append(row | {"peak MB": seen.peak_bytes * factor / 1e6, "MB in use": seen.used_bytes * factor / 1e6})
    return rows


def opened_twice(settings: Settings, rec: Path) -> tuple[Opened, Opened]:
    """The first opening, which leaves a cache, and the best of those that find it."""
    open_source = partial(RecordSource, rec)
    first = settings.apart(opened, open_source, look_up_all)[0]
    later = [settings.apart(opened, open_source, look_up_all)[0] for _ in range(settings.repeats)]
    return first, min(later, key=lambda seen: seen.timing.wall_s)


def opened(runtime: Runtime, open_index: Callable[[], Any], use: Callable[[Any], object]) -> Opened:
    """Open an index in this process, then use it."""
    peak, kept = Peak(runtime.device), []
    timing = timed_step(lambda number: kept.append(open_index()), 0, threads=1, device=runtime.device)
    peak_bytes = peak.grown()
    use(kept[0])
    peak.restart()
    return Opened(timing, peak_bytes, peak.grown())


def look_up_all(source: RecordSource) -> None:
    """Look up a record on each page of the index, which brings all of it into memory."""
    for index in range(0, len(source), 256):
        source.reader.offset(int(source.keys[index]))


@contextmanager
def sparse_set(folder: Path, records: int) -> Iterator[Path]:
    """A .rec of so many records in InsightFace's layout, and its .idx; InputError where `folder` lacks the room."""
    require_room(folder, records)
    with tempfile.TemporaryDirectory(dir=folder, prefix="index-") as scratch:
        rec = Path(scratch) / "train.rec"
        write_sparse(rec, records)
        yield rec


def write_sparse(rec: Path, records: int) -> None:
    """Key k at offset k * RECORD_BYTES; the header, the last images and the identities are there, others a hole."""
    first_identity = records - IDENTITIES
    bodies = {0: pack_body(b"", [first_identity, records], 0, 0)}
    bodies |= {key: pack_body(b"image", 0.0, key, 0) for key in range(first_identity - REAL_IMAGES, first_identity)}
    bodies |= {key: pack_body(b"", [1, 2], key, 0) for key in range(first_identity, records)}
    with open(rec, "wb") as file:
        for key, body in bodies.items():
            file.seek(key * RECORD_BYTES)
            file.write(b"".join(split_body(body)))
    with open(rec.with_suffix(".idx"), "w") as file:
        for start in range(0, records, _LINES_AT_ONCE):
            keys = range(start, min(start + _LINES_AT_ONCE, records))
            file.write("".join(f"{key}\t{key * RECORD_BYTES}\n" for key in keys))


def require_room(folder: Path, records: int) -> None:
    """InputError where `folder` has no room for the index of so many records and its cache."""
    if not folder.is_dir():
        raise InputError(f"{folder} is no folder; name one on the disk to use with --folder")
    wanted = records * (_LINE_BYTES + _CACHED_BYTES) + _SLACK_BYTES
    free = shutil.disk_usage(folder).free
    if free < wanted:
        raise InputError(
            f"{folder} has {free / 1e9:.1f} GB free; an index of {records:,} records needs {wanted / 1e9:.1f} GB: "
            f"name another disk with --folder, or lower --records"
        )
