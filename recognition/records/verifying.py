"""Is a record set sound: a check of every byte that training will meet, and a look at what only a person can judge."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from recognition.atomic import replacing, write_text
from recognition.data.decode import decoded
from recognition.data.record_checks import checks_path, write_checks
from recognition.data.record_format import EXACT_LABELS, REPACK
from recognition.data.recordio import RecordReader
from recognition.data.threads import map_in_order
from recognition.errors import InputError
from recognition.records.duplicates import find_duplicates, picture_hash
from recognition.records.inspection import UNREADABLE, Inspection
from recognition.records.mean_face import MOST_PICTURES, FaceView, MeanFace, face_view
from recognition.spread import spread

MEAN_FACE, DUPLICATES = "mean_face.png", "duplicates.csv"


def verify(rec: str | Path, *, out_dir: Path | None = None) -> Inspection:
    """Check the whole set: frames, index, checksums, labels, identity records, and that every image decodes.

    Damage is counted in `problems` and the check goes on; RecordError only when the set cannot be opened at all.
    Pictures that are there twice, classes without images and faces that are not aligned become `remarks` and
    `alignment`. `out_dir` gets the mean face and the list of duplicates.
    """
    with RecordReader(rec) as reader:
        keys = reader.image_keys
        seen = Inspection(reader.path, len(reader), reader.num_classes)
        seen.has_checks = reader.checks is not None
        for problem in _gaps(reader):
            seen.add_problem(problem)
        labels = np.full(len(keys), UNREADABLE, np.int64)
        hashes = np.zeros(len(keys), np.uint64)
        viewed = np.zeros(len(keys), bool)
        viewed[spread(len(keys), MOST_PICTURES)] = True
        mean = MeanFace()
        checked = map_in_order(lambda place: _check_image(reader, int(keys[place]), viewed[place]), range(len(keys)))
        checked = tqdm(checked, f"checking {reader.path}", len(keys), unit="image", delay=1, disable=None)
        for place, image in enumerate(checked):
            if isinstance(image, InputError):
                seen.add_problem(str(image))
                continue
            labels[place], hashes[place] = image.label, image.hash
            seen.num_images += 1
            seen.image_bytes += image.num_bytes
            seen.sizes[image.size] = seen.sizes.get(image.size, 0) + 1
            if image.view is not None:
                mean.add(image.view)
        if reader.checks is not None:
            for problem in _checks_problems(reader, labels):
                seen.add_problem(problem)
        if reader.has_header:
            for problem in _identity_problems(reader, labels):
                seen.add_problem(problem)
        sound = labels != UNREADABLE
        seen.duplicates = find_duplicates(
            keys[sound], labels[sound], hashes[sound], lambda key: reader.read(key).payload
        )
    seen.count_classes(labels)
    seen.alignment = mean.alignment()
    if out_dir is not None:
        write_text(out_dir / DUPLICATES, seen.duplicates.table())
        with replacing(out_dir / MEAN_FACE) as partial:
            mean.marked().save(partial, "PNG")
    return seen


def write_missing_checks(rec: str | Path) -> Path:
    """Where the checksums of a set lie; they are made when it has none. Only for a set that `verify` found sound."""
    with RecordReader(rec) as reader:
        return checks_path(reader.path) if reader.checks is not None else write_checks(reader)


@dataclass(frozen=True, slots=True)
class _Image:
    """What is kept of an image that decoded; `size` is (height, width)."""

    label: int
    size: tuple[int, int]
    num_bytes: int
    hash: int
    view: FaceView | None


def _check_image(reader: RecordReader, key: int, viewed: bool) -> _Image | InputError:
    try:
        record = reader.read(key)
        label = record.label_below(reader.num_classes)
        pixels_HWC = decoded(record.payload, record.where)
    except InputError as error:
        return error
    view = face_view(pixels_HWC) if viewed else None
    return _Image(label, pixels_HWC.shape[:2], len(record.payload), picture_hash(record.payload), view)


def _gaps(reader: RecordReader) -> Iterator[str]:
    """Bytes of the file that no key of the index leads to."""
    expected = 0
    for key in reader.keys[np.argsort(reader.offsets, kind="stable")]:
        try:
            start, stop = reader.span(key)
        except InputError:
            return  # the check of the record itself reports it, and nothing can be said about what follows
        if start != expected:
            yield f"{reader.path}: {start - expected} bytes before key {key} at offset {start} are not in {reader.idx}"
        expected = stop
    if expected != reader.num_bytes:
        yield f"{reader.path}: {reader.num_bytes - expected} bytes after offset {expected} are not in {reader.idx}"


def _checks_problems(reader: RecordReader, labels: np.ndarray) -> Iterator[str]:
    """Labels in train.crc that are not those of the images, for training takes them from there."""
    try:
        stored = reader.image_labels()
    except InputError as error:
        yield str(error)
        return
    wrong = np.flatnonzero((labels != UNREADABLE) & (stored != labels))
    if len(wrong):
        first = f"first of key {reader.image_keys[wrong[0]]}: {stored[wrong[0]]}, not {labels[wrong[0]]}"
        yield f"{reader.checks.path}: has {len(wrong)} wrong labels, {first}; delete it and verify with --write-checks"


def _identity_problems(reader: RecordReader, labels: np.ndarray) -> Iterator[str]:
    """Identity records that do not match the images they claim; `labels` int64, -1 where an image is unreadable."""
    identities = reader.keys[len(labels) + 1 :]
    if reader.num_classes != len(identities):
        yield f"{reader.path}: {len(identities)} identity records for {reader.num_classes} classes; correct `property`"
    for label, key in enumerate(identities):
        try:
            record = reader.read(key)
            start = record.label
        except InputError as error:
            yield str(error)
            continue
        if not record.is_marker:
            yield str(record.error("an image among the identity records", REPACK))
        elif (stop := float(record.labels[1])) < EXACT_LABELS:  # above, it is rounded and says too little
            claimed = labels[start - 1 : int(max(stop, start)) - 1]
            if (claimed[claimed != UNREADABLE] != label).any():
                problem = f"claims keys {start} to {stop - 1:g}, which are not all of class {label}"
                yield str(record.error(problem, REPACK))
