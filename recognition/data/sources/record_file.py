"""Samples from a RecordIO file."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from recognition.data.record_format import record_place
from recognition.data.recordio import RecordReader
from recognition.data.sources.content import Content, file_content
from recognition.data.sources.sample import Sample


class RecordSource:
    """Image records of a RecordIO file, in the order of their keys; header and identity records are left out."""

    def __init__(self, rec: str | Path, *, num_classes: int | None = None) -> None:
        self.reader = RecordReader(rec)
        self.keys = self.reader.image_keys
        self._first = int(np.searchsorted(self.reader.keys, self.keys[0])) if len(self.keys) else 0
        self.num_classes = num_classes or self.reader.num_classes

    def __len__(self) -> int:
        return len(self.keys)

    def read(self, index: int) -> Sample:
        """Payload (a view of the file) and label; InputError for a damaged record or a label beyond num_classes."""
        payload, label = self.reader.sample(self._first + index)
        if self.num_classes is not None and label >= self.num_classes:
            self.reader.read(self.keys[index]).label_below(self.num_classes)  # has the words for it
        return Sample(payload, label)

    def describe(self, index: int) -> str:
        """`FILE key KEY at offset OFFSET`."""
        key = int(self.keys[index])
        return record_place(self.reader.path, key, self.reader.offset(key))

    def labels(self) -> np.ndarray | None:
        """int64 labels of all samples by checks or identity records; None where only the image records hold them."""
        return self.reader.image_labels()

    def content(self, ends_bytes: int) -> Content:
        """Index and ends of the file."""
        return file_content(self.reader.path, [self.reader.keys, self.reader.offsets], ends_bytes)
