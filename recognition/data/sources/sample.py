"""What a source of samples is: (image, label) by index, from any thread."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from recognition.data.sources.content import Content


@dataclass(frozen=True, slots=True)
class Sample:
    """`payload`: encoded image bytes, or uint8 (H, W, 3) RGB pixels; `label`: class in [0, num_classes)."""

    payload: bytes | memoryview | np.ndarray
    label: int


class Source(Protocol):
    """Samples by index in [0, len); `read` is called from many threads at once."""

    num_classes: int | None

    def __len__(self) -> int: ...

    def read(self, index: int) -> Sample:
        """The sample at `index`; InputError naming file and place when it cannot be read."""
        ...

    def describe(self, index: int) -> str:
        """Where that sample lies, for error messages."""
        ...

    def labels(self) -> np.ndarray | None:
        """int64 labels of all samples, not to be changed; None where they cannot be had without touching the images."""
        ...

    def content(self, ends_bytes: int) -> Content:
        """What tells this set from others, wherever it lies (content.py); of a file, `ends_bytes` of either end.

        OSError when a file cannot be read.
        """
        ...
