"""A copy of a record set with wrong labels, and the list of what was changed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from tqdm import tqdm

from recognition.data.label_noise import LabelNoise
from recognition.data.recordio import RecordReader, RecordWriter
from recognition.errors import InputError
from recognition.records.layout import Written, describe, new_folder
from recognition.records.reading import require_images, size_of
from recognition.records.tables import new_table

NOISE_FILE = "noise.csv"
_IMAGES_AT_ONCE = 4096


def write_noisy(rec: str | Path, out_dir: str | Path, noise: LabelNoise, *, seed: int = 0) -> Written:
    """Copy the images of `rec` with noisy labels into a new set `out_dir`; `noise.csv` there lists what was changed.

    Images keep their order and bytes, so training on the copy equals training on `rec` under NoisySource. Their keys
    are 0, 1, 2, ...; there are no identity records, since the images of a label no longer lie together. InputError for
    a set that cannot be read or does not say how many identities it has, and when `out_dir` is not empty.
    """
    out_dir, changed = Path(out_dir), 0
    with RecordReader(rec) as reader, new_folder(out_dir) as aside:
        classes = noise.num_classes(_clean_classes(reader))
        counts, size = np.zeros(classes, np.int64), size_of(reader)
        columns = ("key", "source_key", "old_label", "new_label")
        with new_table(aside / NOISE_FILE, columns) as add_row, RecordWriter(aside / "train.rec") as writer:
            for ids, keys, old, new in _relabelled(reader, noise, seed):
                for key, source_key, label in zip(ids.tolist(), keys.tolist(), new.tolist()):
                    record = reader.read(source_key)
                    writer.write(key, record.payload, label, id=record.id)
                here = np.flatnonzero(new != old)
                for row in np.stack([ids, keys, old, new], 1)[here].tolist():
                    add_row(row)
                counts += np.bincount(new, minlength=classes)
                changed += len(here)
        describe(aside, classes, size, names=None)
    remarks = [f"{changed} images have another label than before; {out_dir / NOISE_FILE} lists them"]
    if empty := int((counts == 0).sum()):
        remarks.append(f"{empty} of the {classes} labels have no image")
    return Written(out_dir / "train.rec", int(counts.sum()), classes, tuple(remarks))


def _clean_classes(reader: RecordReader) -> int:
    if reader.num_classes is None:
        raise InputError(f"{reader.path}: does not say how many identities it has; write `property`: C,112,112")
    require_images(reader)
    return reader.num_classes


def _relabelled(
    reader: RecordReader, noise: LabelNoise, seed: int
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]]:
    """Blocks of (places, keys, old labels, new labels), int64, over all images."""
    every_key, classes = reader.image_keys, reader.num_classes
    with tqdm(total=len(every_key), desc=f"copying {reader.path}", unit="image", delay=1, disable=None) as bar:
        for start in range(0, len(every_key), _IMAGES_AT_ONCE):
            keys = every_key[start : start + _IMAGES_AT_ONCE]
            ids = np.arange(start, start + len(keys))
            old = np.array([reader.read(key).label_below(classes) for key in keys], np.int64)
            yield ids, keys, old, noise.apply(ids, old, num_images=len(every_key), num_classes=classes, seed=seed)
            bar.update(len(keys))
