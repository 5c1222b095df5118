"""Labels of all images by InsightFace's identity records alone: which keys belong to which identity.

An identity record says [first key, one past the last key] of its images in two float32 labels; the identities are
numbered in the order of their keys. None of these records is longer than another, and writers put them one behind the
other, so that a few hundred thousand of them are one array.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from recognition.data.record_format import EXACT_LABELS, MAGIC, RecordError
from recognition.spread import spread

if TYPE_CHECKING:
    from recognition.data.recordio import RecordReader

ROW = np.dtype(
    [("magic", "<u4"), ("length", "<u4"), ("flag", "<u4"), ("label", "<f4"), ("id", "<u8"), ("id2", "<u8")]
    + [("range", "<f4", 2)]
)
IMAGES_ASKED = 16


def identity_ranges(view: memoryview, offsets: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """First keys, ends and id2 of the identity records at `offsets`, views of the file.

    None unless all have the usual form and lie one behind the other.
    """
    start, count = int(offsets[0]), len(offsets)
    if (np.diff(offsets) != ROW.itemsize).any() or start + count * ROW.itemsize > len(view):
        return None
    rows = np.frombuffer(view, ROW, count, start)
    if not ((rows["magic"] == MAGIC) & (rows["length"] == ROW.itemsize - 8) & (rows["flag"] == 2)).all():
        return None
    return rows["range"][:, 0], rows["range"][:, 1], rows["id2"]


def labels_by_identities(reader: RecordReader, view: memoryview) -> np.ndarray | None:
    """int64 labels of the images of `reader`, whose bytes are `view`, in the order of `image_keys`.

    None where the identity records do not say them all: there are none, their keys were rounded to float32, they do not
    cover the images, or a few images that are asked say otherwise. RecordError for damage.
    """
    images = reader.image_keys
    first = len(images) + 1  # behind the header and the images; without a header all records are images
    if first >= len(reader) or not len(images):
        return None
    ranges = identity_ranges(view, reader.offsets[first:])
    if ranges is None:
        records = [reader.read(key) for key in reader.keys[first:]]
        if not all(record.is_marker for record in records):
            return None
        columns = ([record.labels[0], record.labels[1], record.id2] for record in records)
        firsts, ends, id2 = (np.array(column, kind) for column, kind in zip(zip(*columns), ("<f4", "<f4", "<u8")))
    else:
        firsts, ends, id2 = ranges
    places = _places(images, firsts, ends, id2)
    if places is None:
        return None
    labels = np.repeat(np.arange(len(firsts)), np.diff(places))
    return labels if _images_agree(reader, images, labels) else None


def _places(images: np.ndarray, firsts: np.ndarray, ends: np.ndarray, id2: np.ndarray) -> np.ndarray | None:
    """Places (int64 (C + 1,)) among `images` where identities begin; None unless they cover all, once and in order."""
    if not (np.isfinite(firsts) & (firsts >= 0) & (firsts == np.floor(firsts))).all():
        return None
    large = firsts >= EXACT_LABELS
    if (id2[large].astype(np.float32) != firsts[large]).any():
        return None  # rounded, and nothing holds the exact number
    keys = np.where(large, id2, np.where(large, 0, firsts).astype(np.uint64)).astype(np.int64)
    places = np.append(np.searchsorted(images, keys), len(images))
    told = (ends >= 0) & (ends < EXACT_LABELS)  # larger ends are rounded: the next identity's first key says the same
    if places[0] != 0 or (np.diff(places) < 0).any():
        return None
    if (np.searchsorted(images, ends[told].astype(np.int64)) != places[1:][told]).any():
        return None
    return places


def _images_agree(reader: RecordReader, images: np.ndarray, labels: np.ndarray) -> bool:
    # That identities are numbered in the order of their records is a custom, which no byte of the file promises.
    for place in spread(len(images), IMAGES_ASKED):
        try:
            if reader.read(images[place]).label != labels[place]:
                return False
        except RecordError:
            continue  # whoever trains on this image is told
    return True
