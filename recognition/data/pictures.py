"""Pictures of one size, in memory or read when they are needed, a batch at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Protocol

import numpy as np

from recognition.data.threads import map_in_order
from recognition.errors import InputError


class Pictures(Protocol):
    """N pictures, each uint8 (H, W, 3) RGB and all of one size: an array (N, H, W, 3), or what reads them on demand.

    `pictures[i]` is called from several threads at once. An InputError that it raises names the picture.
    """

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> np.ndarray: ...


@dataclass(frozen=True)
class _Some:
    """Some of other pictures, in any order and as often as wanted, read when they are needed."""

    images: Pictures
    indices: np.ndarray

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int, /) -> np.ndarray:
        return self.images[int(self.indices[index])]


def pictures_at(images: Pictures, indices: np.ndarray) -> Pictures:
    """The pictures with these indices."""
    return images[indices] if isinstance(images, np.ndarray) else _Some(images, indices)


def batches_of(pictures: Pictures, starts: Sequence[int], batch_size: int) -> Iterator[np.ndarray]:
    """The pictures [start, start + batch_size) for each of the starts, uint8 (B, H, W, 3); threads read ahead.

    InputError for a picture that is not uint8 (H, W, 3) or differs in size from the first.
    """
    if isinstance(pictures, np.ndarray):
        yield from (pictures[start : start + batch_size] for start in starts)
        return
    ranges = [range(start, min(start + batch_size, len(pictures))) for start in starts]
    read = map_in_order(pictures.__getitem__, (index for indices in ranges for index in indices))
    shape = None
    for indices in ranges:
        batch = list(islice(read, len(indices)))
        for index, picture in zip(indices, batch):
            shape = shape or picture.shape
            if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3 or picture.shape != shape:
                raise InputError(
                    f"picture {index} is {picture.dtype} {picture.shape}; expected uint8 (H, W, 3), the same for all"
                )
        yield np.stack(batch)
