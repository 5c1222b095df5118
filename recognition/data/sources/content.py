"""What a set holds, in bytes that tell it from others without reading it whole; where it lies does not matter."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from recognition.data.sources.sample import Source

Content = Iterable[bytes | memoryview]
LEAST_BYTES = 1 << 12


def content_of(source: Source, ends_bytes: int) -> Iterator[bytes | memoryview]:
    """Kind and size of a source, and its own `content`."""
    yield json.dumps([type(source).__name__, len(source), source.num_classes]).encode()
    yield from source.content(ends_bytes)


def file_content(path: Path, index: Iterable[np.ndarray], ends_bytes: int) -> Iterator[bytes | memoryview]:
    """Size, index, and `ends_bytes` of either end of a file."""
    size = path.stat().st_size
    yield str(size).encode()
    yield from array_content(index)
    with open(path, "rb") as file:
        yield file.read(ends_bytes)
        file.seek(max(0, size - ends_bytes))
        yield file.read(ends_bytes)


def array_content(arrays: Iterable[np.ndarray]) -> Iterator[memoryview]:
    """The bytes of each array."""
    for array in arrays:
        yield memoryview(np.ascontiguousarray(array)).cast("B")


def share_of(ends_bytes: int, files: int) -> int:
    """What is read of either end of one of so many files."""
    return max(LEAST_BYTES, ends_bytes // files)
