"""What is in a record set, and is it sound: counts, and a check of every byte that training will meet."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from tqdm import tqdm

from recognition.data.decode import announced_size, decode_into
from recognition.data.record_format import EXACT_LABELS, REPACK, Record
from recognition.data.recordio import RecordReader
from recognition.data.threads import map_in_order
from recognition.errors import InputError

MOST_PROBLEMS = 20
UNREADABLE = -1


@dataclass
class Inspection:
    """Counts of a record set and the first problems found; `num_problems` counts all of them."""

    path: Path
    num_records: int
    num_classes: int | None
    num_images: int = 0
    image_bytes: int = 0
    images_per_class: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    sizes: dict[tuple[int, int], int] = field(default_factory=dict)
    num_problems: int = 0
    problems: list[str] = field(default_factory=list)

    def add_problem(self, problem: str) -> None:
        """Count a problem and keep its description while there are few."""
        self.num_problems += 1
        if len(self.problems) < MOST_PROBLEMS:
            self.problems.append(problem)

    def __str__(self) -> str:
        counts = self.images_per_class
        stated = "not stated (no property file)" if self.num_classes is None else str(self.num_classes)
        lines = [f"{self.path}: {self.num_records} records, {self.num_images} images", f"  classes: {stated}"]
        if len(counts):
            spread = f"{counts.min()} / {np.median(counts):g} / {counts.max()}"
            lines.append(f"  classes with images: {len(counts)}; images in each: {spread} (min / median / max)")
            lines.append(f"  mean image: {self.image_bytes / self.num_images:.0f} bytes")
        if self.sizes:
            sizes = (f"{width}x{height} ({count})" for (height, width), count in sorted(self.sizes.items()))
            lines.append(f"  image sizes: {', '.join(sizes)}")
        lines += [f"  problem: {problem}" for problem in self.problems]
        if self.num_problems > len(self.problems):
            lines.append(f"  ... and {self.num_problems - len(self.problems)} more problems")
        return "\n".join(lines)


def stats(rec: str | Path) -> Inspection:
    """Count records, images and images per class; images are not decoded. RecordError for damage."""
    with RecordReader(rec) as reader:
        seen = Inspection(reader.path, len(reader), reader.num_classes, num_images=len(reader.image_keys))
        labels = np.empty(seen.num_images, np.int64)
        keys = tqdm(reader.image_keys, f"reading {reader.path}", unit="image", delay=1, disable=None)
        for place, key in enumerate(keys):
            record = reader.read(key)
            labels[place] = record.label
            seen.image_bytes += len(record.payload)
    seen.images_per_class = np.unique(labels, return_counts=True)[1]
    return seen


def verify(rec: str | Path) -> Inspection:
    """Check the whole set: frames, index, labels, identity records, and that every image decodes.

    Damage is counted in `problems` and the check goes on; RecordError only when the set cannot be opened at all.
    """
    with RecordReader(rec) as reader:
        keys = reader.image_keys
        seen = Inspection(reader.path, len(reader), reader.num_classes)
        for problem in _gaps(reader):
            seen.add_problem(problem)
        labels = np.full(len(keys), UNREADABLE, np.int64)
        checked = map_in_order(lambda key: _check_image(reader, int(key)), keys)
        checked = tqdm(checked, f"checking {reader.path}", len(keys), unit="image", delay=1, disable=None)
        for place, result in enumerate(checked):
            if isinstance(result, InputError):
                seen.add_problem(str(result))
                continue
            record, size = result
            labels[place] = record.label
            seen.num_images += 1
            seen.image_bytes += len(record.payload)
            seen.sizes[size] = seen.sizes.get(size, 0) + 1
        if reader.has_header:
            for problem in _identity_problems(reader, labels):
                seen.add_problem(problem)
    seen.images_per_class = np.unique(labels[labels != UNREADABLE], return_counts=True)[1]
    return seen


def _check_image(reader: RecordReader, key: int) -> tuple[Record, tuple[int, int]] | InputError:
    try:
        record = reader.read(key)
        record.label_below(reader.num_classes)
        size = announced_size(record.payload, record.where)
        decode_into(np.empty((*size, 3), np.uint8), record.payload, record.where)
        return record, size
    except InputError as error:
        return error


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
