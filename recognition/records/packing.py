"""Folders and lists of images -> a RecordIO set in InsightFace's layout, and back.

The layout: record 0 is the header, labels [N + 1, N + 1 + C]; records 1..N are the images, all of an identity together;
records N + 1..N + C are the identities, labels [first image, one past the last image]. Beside `train.rec` and
`train.idx` lie `property` (`C,height,width`) and, our own addition, `identities.txt` with the name of each identity.
"""

from __future__ import annotations

import dataclasses
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from recognition.atomic import naming, write_text
from recognition.data.decode import is_jpeg
from recognition.data.record_format import EXACT_LABELS
from recognition.data.recordio import RecordReader, RecordWriter
from recognition.data.sources import FileSource, FolderSource, ListSource
from recognition.errors import InputError
from recognition.records.encode import encode_all

NAMES = "identities.txt"
PUBLISHED_SIZE = (112, 112)


@dataclass(frozen=True)
class Packed:
    """What was packed or unpacked: where it is, how much, and the remarks that a user should read."""

    path: Path
    num_images: int
    num_classes: int
    remarks: tuple[str, ...] = ()


def pack_folder(
    folder: str | Path, out_dir: str | Path, *, image_size: int | None = None, fit: str = "pad", quality: int = 95
) -> Packed:
    """Pack a folder per identity, in the order of their names, into `out_dir`; replaces a set that is there.

    JPEGs of the right size keep their bytes; everything else is fitted (encode.py) to `image_size` pixels square and
    becomes a JPEG of `quality`. With `image_size=None` all images must have one size already.
    """
    source = FolderSource(folder)
    names = [Path(path).relative_to(folder).parts[0] for path in source.paths]
    first_of_class = np.searchsorted(source.labels(), np.arange(source.num_classes))
    packed = _pack(source, [names[place] for place in first_of_class], Path(out_dir), image_size, fit, quality)
    if not source.skipped:
        return packed
    left_out = f"{len(source.skipped)} files were left out, no pictures by their suffix, first {source.skipped[0]}"
    return dataclasses.replace(packed, remarks=(*packed.remarks, left_out))


def pack_list(
    lst: str | Path, out_dir: str | Path, *, image_size: int | None = None, fit: str = "pad", quality: int = 95
) -> Packed:
    """Pack the images that a `.lst` names as `pack_folder` does, sorted by label; labels 0..C-1 must all occur."""
    source = ListSource(lst)
    present = np.unique(source.labels())
    if len(present) < source.num_classes:
        absent = int(np.flatnonzero(present != np.arange(len(present)))[0])
        raise InputError(
            f"{lst}: no image has label {absent}, though labels go up to {present[-1]}; number them 0, 1, 2, ..."
        )
    order = np.argsort(source.labels(), kind="stable")
    source = FileSource([source.paths[i] for i in order], source.labels()[order], num_classes=source.num_classes)
    return _pack(source, None, Path(out_dir), image_size, fit, quality)


def _pack(
    source: FileSource, names: list[str] | None, out_dir: Path, image_size: int | None, fit: str, quality: int
) -> Packed:
    count, classes = len(source), source.num_classes
    rec = out_dir / "train.rec"
    starts = np.searchsorted(source.labels(), np.arange(classes + 1)) + 1

    def read(index: int) -> bytes:
        return source.read(index).payload

    options = {"image_size": image_size, "fit": fit, "quality": quality}
    with RecordWriter(rec) as writer:
        writer.write(0, b"", [count + 1, _rounded(count + 1 + classes)])
        jpegs = encode_all(range(count), read, source.describe, f"packing {rec}", **options)
        for index, (jpeg, found) in enumerate(jpegs):
            writer.write(index + 1, jpeg, int(source.labels()[index]), id=index + 1)
            size = found  # one size for all
        for label in range(classes):
            key = count + 1 + label
            writer.write(key, b"", [int(starts[label]), _rounded(starts[label + 1])], id=key)
        # The set before this one loses its description before its records go, so they never disagree.
        for name in ("property", NAMES):
            (out_dir / name).unlink(missing_ok=True)
    write_text(out_dir / "property", f"{classes},{size[0]},{size[1]}")
    if names is not None:
        write_text(out_dir / NAMES, "".join(f"{name}\n" for name in names))
    remark = f"the pictures are {size[1]}x{size[0]}, published networks take 112x112: --image-size 112 resizes them"
    return Packed(rec, count, classes, () if tuple(size) == PUBLISHED_SIZE else (remark,))


def _rounded(number: int) -> float:
    # Only the first number of a row is kept exact above 2^24; readers find the other one from the keys.
    return float(np.float32(number)) if number >= EXACT_LABELS else float(number)


def unpack(rec: str | Path, out_dir: str | Path) -> Packed:
    """Write the images of `rec` into a new folder `out_dir`, one folder per identity, files named by key.

    Folders have the names in `identities.txt` where it is there, else the label; both sort as the labels do, so packing
    `out_dir` again gives the same labels. InputError when `out_dir` exists and is not empty.
    """
    out_dir, count = Path(out_dir), 0
    with RecordReader(rec) as reader, new_folder(out_dir) as aside:
        names, made = _names(reader), set()
        digits = len(str((reader.num_classes or 1_000_000) - 1))
        keys = tqdm(reader.image_keys, f"unpacking {reader.path}", unit="image", delay=1, disable=None)
        for key in keys:
            record = reader.read(key)
            label = record.label
            if names is not None and label >= len(names):
                remedy = f"delete {NAMES} to use the labels as names"
                raise record.error(f"label {label} has no line in {NAMES}", remedy)
            folder = aside / (names[label] if names is not None else f"{label:0{digits}d}")
            if label not in made:
                folder.mkdir()
                made.add(label)
            file = folder / f"{key:08d}{_suffix(record.payload)}"
            with naming(file):
                file.write_bytes(record.payload)
            count += 1
    return Packed(out_dir, count, len(made))


def _names(reader: RecordReader) -> list[str] | None:
    path = reader.path.with_name(NAMES)
    if not path.exists():
        return None
    names = path.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    for line, name in enumerate(names, start=1):
        # The file came with the set: a name must not lead out of the folder that is being written.
        if name in ("", ".", "..") or "/" in name or "\\" in name or "\0" in name:
            raise InputError(f"{path}: line {line} is {name!r}, which cannot be a folder; correct or delete the file")
    if len(set(names)) < len(names):
        raise InputError(f"{path}: two identities have the same name; correct or delete the file")
    return names


def _suffix(payload: bytes | memoryview) -> str:
    return ".jpg" if is_jpeg(payload) else ".png" if bytes(payload[:4]) == b"\x89PNG" else ".image"


@contextmanager
def new_folder(out_dir: Path) -> Iterator[Path]:
    """A folder aside that becomes `out_dir` when the block ends well, and is removed when it does not.

    InputError, before anything is made, when `out_dir` exists and is not empty.
    """
    if out_dir.exists() and (not out_dir.is_dir() or any(out_dir.iterdir())):
        raise InputError(f"{out_dir}: already exists; give the name of a new folder")
    aside = out_dir.with_name(out_dir.name + ".partial")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    try:
        yield aside
        os.replace(aside, out_dir)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
