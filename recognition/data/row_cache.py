"""Rows of int64 that took a while to find, kept in a file that is memory-mapped the next time.

The file is a header of 64 bytes (a magic, the stamp of what the rows were made from, their shape) and the rows. It lies
beside the file that it belongs to, or under the user's cache folder where that cannot be written, and is left out
altogether where neither works. With another stamp it is made again.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from recognition.atomic import replacing

HEADER_BYTES = 64
MISSING = -1


def cached_rows(
    path: Path, make: Callable[[], Sequence[np.ndarray]], *, magic: bytes, made_from: Sequence[Path], least: int
) -> Sequence[np.ndarray]:
    """The rows that `make()` returns, each int64 (n,), from the cache of `path` where they came from the same files.

    Cached from n = `least` on; below, a file more would only be clutter. `magic` has 16 bytes and stands for the rows'
    number and meaning.
    """
    stamp = file_stats(made_from).ravel()
    for cache in cache_places(path):
        if (rows := read_rows(cache, magic, stamp)) is not None:
            return rows
    rows = make()
    if len(rows[0]) >= least:
        for cache in cache_places(path):
            if write_rows(cache, magic, stamp, rows):
                cached = read_rows(cache, magic, stamp)
                return rows if cached is None else cached
    return rows


def file_stats(paths: Sequence[str | Path]) -> np.ndarray:
    """Size in bytes and time of change in ns of each file, int64 (n, 2); MISSING where they cannot be had."""
    stats_n2 = np.full((len(paths), 2), MISSING, np.int64)
    for row, path in zip(stats_n2, paths):
        with contextlib.suppress(OSError):
            stat = os.stat(path)
            row[:] = stat.st_size, stat.st_mtime_ns
    return stats_n2


def cache_places(path: Path) -> list[Path]:
    """Where the cache of `path` may lie, the best place first."""
    name = hashlib.sha256(str(path.absolute()).encode("utf-8", "surrogateescape")).hexdigest()[:16]
    user = Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"))
    return [path.with_name(path.name + ".cache"), user / "arcscale" / f"{name}{path.suffix}.cache"]


def read_rows(cache: Path, magic: bytes, stamp: np.ndarray) -> np.ndarray | None:
    """Memory-map the rows in `cache`; None unless they were made for exactly this stamp and are complete."""
    try:
        with open(cache, "rb") as file:
            head = file.read(HEADER_BYTES)
        if len(head) < HEADER_BYTES or not head.startswith(magic):
            return None
        *stored, height, count = np.frombuffer(head, np.int64, len(stamp) + 2, len(magic))
        if stored != stamp.tolist() or count < 1 or os.path.getsize(cache) != HEADER_BYTES + 8 * height * count:
            return None
        rows = np.memmap(cache, np.int64, mode="r", offset=HEADER_BYTES, shape=(int(height), int(count)))
    except OSError:
        return None
    return rows.view(np.ndarray)


def write_rows(cache: Path, magic: bytes, stamp: np.ndarray, rows: Sequence[np.ndarray]) -> bool:
    """Write the cache aside and rename it; False, with nothing left behind, where that is not possible."""
    head = magic + stamp.tobytes() + np.array([len(rows), len(rows[0])], np.int64).tobytes()
    try:
        with replacing(cache) as partial, open(partial, "wb") as file:
            file.write(head.ljust(HEADER_BYTES, b"\0"))
            for row in rows:
                row.tofile(file)
    except OSError:
        return False
    return True
