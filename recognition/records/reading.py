"""Sets as they are read for another one to be made of them: labels of all images, the size of one, the images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from tqdm import tqdm

from recognition.data.decode import announced_size
from recognition.data.recordio import RecordReader
from recognition.errors import InputError

_IMAGES_AT_ONCE = 1 << 16


def require_images(reader: RecordReader) -> None:
    """InputError for a set without a single image."""
    if not len(reader.image_keys):
        raise InputError(f"{reader.path}: holds no image records; give the set that was packed")


def labels_of(reader: RecordReader) -> np.ndarray:
    """Labels of all images, int64 (N,), in the order of `image_keys`; the records are read only where they have to be.

    InputError for a label that is not below the number of identities, and for damage.
    """
    require_images(reader)
    labels_N = reader.image_labels()
    if labels_N is None:
        keys = tqdm(reader.image_keys, f"labels of {reader.path}", unit="image", delay=1, disable=None)
        labels_N = np.fromiter((reader.read(key).label for key in keys), np.int64, len(reader.image_keys))
    if reader.num_classes is not None:
        beyond = np.flatnonzero(labels_N >= reader.num_classes)
        if len(beyond):
            reader.read(reader.image_keys[beyond[0]]).label_below(reader.num_classes)
    return labels_N


def size_of(reader: RecordReader) -> tuple[int, int]:
    """(height, width) of the first image."""
    record = reader.read(reader.image_keys[0])
    return announced_size(record.payload, record.where)


def labelled_images(
    readers: Sequence[RecordReader], sets_N: np.ndarray, keys_N: np.ndarray, labels_N: np.ndarray, *, title: str
) -> Iterator[tuple[int, memoryview | bytes]]:
    """(label, image) of each key of the set among `readers` that stands beside it, under a progress bar."""
    with tqdm(total=len(keys_N), desc=title, unit="image", delay=1, disable=None) as bar:
        for start in range(0, len(keys_N), _IMAGES_AT_ONCE):
            block = slice(start, start + _IMAGES_AT_ONCE)
            for number, key, label in zip(*(column[block].tolist() for column in (sets_N, keys_N, labels_N))):
                yield label, readers[number].read(key).payload
                bar.update()
