"""How much is in a record set, without decoding its images."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from recognition.data.recordio import RecordReader
from recognition.records.inspection import Inspection


@dataclass(frozen=True)
class Counted:
    """`seen` and, of every image in the order of `image_keys`, its label and the bytes of its file, int64 (N,)."""

    seen: Inspection
    labels: np.ndarray
    image_bytes: np.ndarray


def count(reader: RecordReader) -> Counted:
    """Count records, images and images per class; RecordError for damage."""
    keys = reader.image_keys
    seen = Inspection(reader.path, len(reader), reader.num_classes, num_images=len(keys))
    seen.has_checks = reader.checks is not None
    labels, image_bytes = np.empty(len(keys), np.int64), np.empty(len(keys), np.int64)
    for place, key in enumerate(tqdm(keys, f"reading {reader.path}", unit="image", delay=1, disable=None)):
        record = reader.read(key)
        labels[place], image_bytes[place] = record.label, len(record.payload)
    seen.image_bytes = int(image_bytes.sum())
    seen.count_classes(labels)
    return Counted(seen, labels, image_bytes)


def stats(rec: str | Path) -> Inspection:
    """`count` of the set in `rec`."""
    with RecordReader(rec) as reader:
        return count(reader).seen
