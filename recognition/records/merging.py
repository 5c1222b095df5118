"""Several record sets -> one in InsightFace's layout; what came from where, and which images are in it twice."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from recognition.data.recordio import RecordReader
from recognition.data.threads import map_in_order
from recognition.errors import InputError
from recognition.records.duplicates import find_duplicates, picture_hash
from recognition.records.joining import LEFT_OUT, Identities, Joined, apart
from recognition.records.layout import Written, new_folder, read_names, without_images, write_set
from recognition.records.reading import labelled_images, labels_of, size_of
from recognition.records.tables import new_table

SOURCES = "sources.csv"
DUPLICATES = "duplicates.csv"
_IMAGES_AT_ONCE = 256


def merge(
    recs: Sequence[str | Path],
    out_dir: str | Path,
    *,
    join: Callable[[Sequence[Identities]], Joined] = apart,
    drop_duplicates: bool = False,
) -> Written:
    """Copy the images of `recs`, their identities joined by `join` (joining.py), into a new set `out_dir`.

    Images of an identity lie together, those of earlier sets first. `sources.csv` says which identities each one came
    from, `duplicates.csv` which images have the very bytes of an earlier one: in the order of the sets and of their
    keys. `drop_duplicates` leaves these out; an identity that loses all its images keeps its label, and is named.
    InputError when the sets have images of different sizes, and when `out_dir` is not empty.
    """
    out_dir = Path(out_dir)
    with ExitStack() as stack, new_folder(out_dir) as aside:
        readers = [stack.enter_context(RecordReader(rec)) for rec in recs]
        old_labels = [labels_of(reader) for reader in readers]
        size = _one_size(readers)
        joined = join([_identities(reader, labels) for reader, labels in zip(readers, old_labels)])
        images = _Images.of(readers, old_labels, joined)
        first_of = _first_of(readers, images)
        twice = np.flatnonzero(first_of != np.arange(len(first_of)))
        if len(twice):
            _write_duplicates(aside / DUPLICATES, readers, images, twice, first_of)
        kept = np.setdiff1d(np.arange(len(first_of)), twice) if drop_duplicates else np.arange(len(first_of))
        order = kept[np.argsort(images.new_labels[kept], kind="stable")]
        columns = (column[order] for column in (images.sets, images.keys, images.new_labels))
        stream = labelled_images(readers, *columns, title=f"merging into {out_dir}")
        counts_C = write_set(aside, stream, num_classes=joined.num_classes, size=size, names=joined.names)
        _write_sources(aside / SOURCES, readers, images, kept, joined)
    remarks = [f"{out_dir / SOURCES} says where each identity came from"]
    if len(twice):
        conflicts = int((images.new_labels[twice] != images.new_labels[first_of[twice]]).sum())
        what = "were left out" if drop_duplicates else "are kept: --drop-duplicates leaves them out"
        remarks.append(
            f"{len(twice)} images have the bytes of an earlier one, {conflicts} of them under another identity; they "
            f"{what}; {out_dir / DUPLICATES} lists them"
        )
    remarks += without_images(counts_C, joined.names)
    return Written(out_dir / "train.rec", int(counts_C.sum()), joined.num_classes, tuple(remarks))


@dataclass(frozen=True)
class _Images:
    """Columns over all images that go somewhere, in the order of the sets and of their keys; int64, sets int32."""

    sets: np.ndarray
    keys: np.ndarray
    old_labels: np.ndarray
    new_labels: np.ndarray

    @classmethod
    def of(cls, readers: Sequence[RecordReader], old_labels: Sequence[np.ndarray], joined: Joined) -> _Images:
        new = np.concatenate([table[labels] for table, labels in zip(joined.new_labels, old_labels)])
        sets = np.repeat(np.arange(len(readers), dtype=np.int32), [len(labels) for labels in old_labels])
        keys = np.concatenate([reader.image_keys for reader in readers])
        goes = new != LEFT_OUT
        return cls(sets[goes], keys[goes], np.concatenate(old_labels)[goes], new[goes])

    def __len__(self) -> int:
        return len(self.keys)


def _one_size(readers: Sequence[RecordReader]) -> tuple[int, int]:
    sizes = [size_of(reader) for reader in readers]
    for reader, size in zip(readers, sizes):
        if size != sizes[0]:
            raise InputError(
                f"{reader.path}: its images are {size[1]}x{size[0]} pixels, those of {readers[0].path} are "
                f"{sizes[0][1]}x{sizes[0][0]}; unpack it and pack it again with --image-size"
            )
    return sizes[0]


def _identities(reader: RecordReader, labels_N: np.ndarray) -> Identities:
    counts_C = np.bincount(labels_N, minlength=reader.num_classes or 0)
    return Identities(reader.path, read_names(reader), counts_C > 0)


def _first_of(readers: Sequence[RecordReader], images: _Images) -> np.ndarray:
    """Of each image the first one, itself or before it, that has the same bytes: int64 (N,) places in `images`."""

    def payload(place: int) -> bytes | memoryview:
        return readers[images.sets[place]].read(images.keys[place]).payload

    def hashes(start: int) -> list[int]:
        return [picture_hash(payload(place)) for place in range(start, min(start + _IMAGES_AT_ONCE, len(images)))]

    hashes_N = np.empty(len(images), np.uint64)
    starts = range(0, len(images), _IMAGES_AT_ONCE)
    blocks = map_in_order(hashes, starts)
    bar = tqdm(blocks, "comparing", len(starts), unit_scale=_IMAGES_AT_ONCE, unit="image", delay=1, disable=None)
    for start, block in zip(starts, bar):
        hashes_N[start : start + len(block)] = block
    found = find_duplicates(np.arange(len(images)), images.new_labels, hashes_N, payload)
    first_of = np.arange(len(images))
    # By group and in it by place: each group begins with the first of its pictures.
    first_of[found.keys] = found.keys[np.searchsorted(found.groups, found.groups)]
    return first_of


def _write_duplicates(
    path: Path, readers: Sequence[RecordReader], images: _Images, twice: np.ndarray, first_of: np.ndarray
) -> None:
    columns = ("set", "key", "label", "new_label")
    with new_table(path, (*columns, *(f"first_{column}" for column in columns))) as add_row:
        for place in twice.tolist():
            add_row([value for where in (place, first_of[place]) for value in _row(readers, images, where)])


def _row(readers: Sequence[RecordReader], images: _Images, place: int) -> tuple:
    rec = readers[images.sets[place]].path
    return rec, images.keys[place], images.old_labels[place], images.new_labels[place]


def _write_sources(
    path: Path, readers: Sequence[RecordReader], images: _Images, kept: np.ndarray, joined: Joined
) -> None:
    """A row for each identity of each set that went somewhere, by new label, with how many images it brought."""
    rows = []
    for number, (reader, table) in enumerate(zip(readers, joined.new_labels)):
        here = kept[images.sets[kept] == number]
        counts_C = np.bincount(images.old_labels[here], minlength=len(table))
        labels = np.flatnonzero(table != LEFT_OUT)
        rows += [(table[label], number, label, reader.path, counts_C[label]) for label in labels.tolist()]
    rows.sort(key=lambda row: row[:3])
    with new_table(path, ("label", "set", "old_label", "images", "name")) as add_row:
        for new_label, _, label, rec, count in rows:
            add_row((new_label, rec, label, count, joined.names[new_label] if joined.names else ""))
