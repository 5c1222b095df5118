"""A copy of a record set in random order, for disks that read one file from its beginning to its end and no faster.

Two passes, each of which reads and writes in long runs. The first one scatters the records over buckets, files that
each hold a stretch of the new order and fit in memory; the second one writes each bucket in order. On the way there are
two copies of the set beside the old one, never more: a bucket goes when it is written.
"""

from __future__ import annotations

import math
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from tqdm import tqdm

from recognition.atomic import naming
from recognition.data.record_format import pack_body, read_record, split_body
from recognition.data.record_index import scan_records
from recognition.data.recordio import Record, RecordReader, RecordWriter
from recognition.errors import InputError
from recognition.permutation import permutation_keys, permute
from recognition.records.layout import Written, describe, new_folder, read_names
from recognition.records.reading import require_images, size_of

# Half of it is for a bucket; the rest for one that is larger than the mean, the files' buffers, and what was read.
MEMORY_BYTES = 1 << 30
MOST_BUCKETS = 512  # open files
_IMAGES_AT_ONCE = 4096


def shuffle(rec: str | Path, out_dir: str | Path, *, seed: int = 0, memory_bytes: int = MEMORY_BYTES) -> Written:
    """Copy the images of `rec` in an order that is a function of `seed` into a new set `out_dir`.

    Keys are 0, 1, 2, ...; labels are exact. There are no identity records, since the images of an identity no longer
    lie together; `property` says how many identities there are. Of the images no more than `memory_bytes` are in memory
    at once, whatever the size of the set; its index takes another 50 bytes a record.
    """
    out_dir = Path(out_dir)
    with RecordReader(rec) as reader, new_folder(out_dir) as aside:
        require_images(reader)
        count = len(reader.image_keys)
        images_each = math.ceil(count / _num_buckets(reader, memory_bytes))
        size, names = size_of(reader), read_names(reader)
        paths = [aside / f"bucket-{number:03d}" for number in range(math.ceil(count / images_each))]
        largest = _scatter(reader, paths, images_each, seed, memory_bytes)
        _gather(paths, aside / "train.rec", count)
        num_classes, remarks = reader.num_classes, []
        if num_classes is None:
            num_classes = largest + 1
            remarks = [f"the set did not say how many identities it has: `property` now says {num_classes}"]
        describe(aside, num_classes, size, names)
    return Written(out_dir / "train.rec", count, num_classes, tuple(remarks))


def _num_buckets(reader: RecordReader, memory_bytes: int) -> int:
    buckets = math.ceil(reader.num_bytes / max(1, memory_bytes // 2))
    if buckets > MOST_BUCKETS:
        least = math.ceil(2 * reader.num_bytes / MOST_BUCKETS / (1 << 20))
        raise InputError(f"{reader.path}: cannot be shuffled in {memory_bytes >> 20} MiB; give at least {least} MiB")
    return buckets


def _scatter(reader: RecordReader, paths: list[Path], images_each: int, seed: int, memory_bytes: int) -> int:
    """Write each record, under its new key, into the bucket of that key; returns the largest label."""
    count, round_keys, largest, unforgotten = len(reader.image_keys), permutation_keys(seed), 0, 0
    buffering = min(1 << 20, max(1 << 12, memory_bytes // 4 // len(paths)))
    bar = tqdm(total=count, desc=f"scattering {reader.path}", unit="image", delay=1, disable=None)
    with ExitStack() as stack, bar:
        files = [stack.enter_context(open(path, "wb", buffering=buffering)) for path in paths]
        for start in range(0, count, _IMAGES_AT_ONCE):
            keys = reader.image_keys[start : start + _IMAGES_AT_ONCE]
            new_keys = permute(np.arange(start, start + len(keys)), count, round_keys)
            for key, new_key in zip(keys.tolist(), new_keys.tolist()):
                record = reader.read(key)
                largest = max(largest, record.label_below(reader.num_classes))
                number = new_key // images_each
                with naming(paths[number]):
                    files[number].writelines(split_body(_body(record, new_key)))
                unforgotten += len(record.payload)
                if unforgotten > memory_bytes // 8:
                    reader.forget_pages()
                    unforgotten = 0
            bar.update(len(keys))
    return largest


def _body(record: Record, new_key: int) -> bytes:
    return pack_body(record.payload, _labels(record), new_key, record.id2)


def _labels(record: Record) -> int | np.ndarray:
    """As a writer takes them: the first one exact, one alone as a number."""
    if len(record.labels) == 1:
        return record.label
    labels = record.labels.astype(np.float64)
    labels[0] = record.label
    return labels


def _gather(paths: list[Path], rec: Path, count: int) -> None:
    """Write the records of the buckets by ascending new key, and remove each bucket that is done."""
    bar = tqdm(total=count, desc=f"writing {rec}", unit="image", delay=1, disable=None)
    with RecordWriter(rec) as writer, bar:
        for path in paths:
            bar.update(_write_bucket(writer, path))
            path.unlink()


def _write_bucket(writer: RecordWriter, path: Path) -> int:
    """Write the records of one bucket, all of which is in memory until this returns; returns how many they are."""
    view = memoryview(path.read_bytes())
    found = scan_records(view, path)
    order = np.argsort(found.keys)
    for key, offset in zip(found.keys[order].tolist(), found.offsets[order].tolist()):
        record = read_record(view, offset, path, key)[0]
        writer.write(key, record.payload, _labels(record), id=key, id2=record.id2)
    return len(order)
