"""Several sources as one: the shards of a set, or sets whose identities have nothing to do with each other."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate

import numpy as np

from recognition.data.sources.content import Content, content_of, share_of
from recognition.data.sources.sample import Sample, Source
from recognition.errors import InputError


class JoinedSource:
    """The samples of `parts`, one part after the other.

    Labels are shared (a number means the same person in all parts) or, with `apart`, those of each part come after
    those of the parts before. Then every part must know how many identities it has, and keeps to that number.
    """

    def __init__(self, parts: Sequence[Source], *, apart: bool = False) -> None:
        self.parts, self.apart = tuple(parts), apart
        self._ends = list(accumulate(len(part) for part in self.parts))
        counts = [part.num_classes for part in self.parts]
        if apart:
            for part in self.parts:
                if not part.num_classes:
                    raise InputError(
                        f"{part.describe(0)}: the number of identities of this set is not known, so the labels of the "
                        "next cannot begin after them; write `property` beside it: NUM_CLASSES,112,112"
                    )
            *self.first_labels, self._num_classes = accumulate(counts, initial=0)
        else:
            self.first_labels = [0] * len(counts)
            self.num_classes = None if None in counts else max(counts)

    def __len__(self) -> int:
        return self._ends[-1]

    @property
    def num_classes(self) -> int | None:
        """Identities of all parts together; set, it is the bound of shared labels in every part."""
        return self._num_classes

    @num_classes.setter
    def num_classes(self, number: int | None) -> None:
        self._num_classes = number
        if not self.apart:
            for part in self.parts:
                part.num_classes = number

    def read(self, index: int) -> Sample:
        """The part's payload, and its label after those of the parts before; the part's InputErrors."""
        part, place = self._find(index)
        sample = self.parts[part].read(place)
        first = self.first_labels[part]
        return Sample(sample.payload, first + sample.label) if first else sample

    def describe(self, index: int) -> str:
        """As the part does."""
        part, place = self._find(index)
        return self.parts[part].describe(place)

    def labels(self) -> np.ndarray | None:
        """int64 labels of all samples; None when a part has none without its images."""
        labels = [part.labels() for part in self.parts]
        if any(of_part is None for of_part in labels):
            return None
        return np.concatenate([of_part + first for of_part, first in zip(labels, self.first_labels)])

    def content(self, ends_bytes: int) -> Content:
        """That of the parts, and where their labels begin."""
        yield str(self.first_labels).encode()
        for part in self.parts:
            yield from content_of(part, share_of(ends_bytes, len(self.parts)))

    def _find(self, index: int) -> tuple[int, int]:
        part = bisect_right(self._ends, index)
        return part, int(index) - (self._ends[part - 1] if part else 0)
