"""A stream of (label, JPEG) -> a record set in InsightFace's layout, and the files that describe a set.

The layout: record 0 is the header, labels [N + 1, N + 1 + C]; records 1..N are the images, all of an identity together;
records N + 1..N + C are the identities, labels [first image, one past the last image]. Beside `train.rec` and
`train.idx` lie `property` (`C,height,width`) and, our own addition, `identities.txt` with the name of each identity.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from recognition.atomic import hold, naming, write_text
from recognition.data.record_format import EXACT_LABELS
from recognition.data.recordio import NAMES, RecordReader, RecordWriter
from recognition.errors import InputError
from recognition.records.encode import Failure


@dataclass(frozen=True)
class Written:
    """What was written: a record file or a folder, how much, remarks for the user, and what had to be left out."""

    path: Path
    num_images: int
    num_classes: int
    remarks: tuple[str, ...] = ()
    failures: tuple[Failure, ...] = ()

    @property
    def folder(self) -> Path:
        """Where the files are that go with it."""
        return self.path if self.path.is_dir() else self.path.parent


class LayoutWriter:
    """Adds images by ascending label to a new or resumed `writer`; `finish` writes what the layout has around them.

    `counts_C`, int64 (C,), are the images of each identity that `writer` holds already; none for a new one.
    """

    def __init__(self, writer: RecordWriter, num_classes: int, counts_C: np.ndarray | None = None) -> None:
        self._writer = writer
        self.counts_C = np.zeros(num_classes, np.int64) if counts_C is None else counts_C
        self.num_images = int(self.counts_C.sum())
        self._label = 0
        if not self.num_images:
            writer.write(0, b"", [0, 0])

    def add(self, label: int, jpeg: bytes | memoryview) -> None:
        """Append one image; ValueError for a label below the one before it."""
        if label < self._label:
            raise ValueError(f"label {label} comes after label {self._label}: images of an identity lie together")
        self._label = label
        self.num_images += 1
        self.counts_C[label] += 1
        self._writer.write(self.num_images, jpeg, label, id=self.num_images)

    def finish(self) -> None:
        """Append a record for each identity, and make the header tell where they are."""
        first_identity = self.num_images + 1
        starts = np.concatenate([[1], 1 + np.cumsum(self.counts_C)])
        for label, (start, stop) in enumerate(zip(starts[:-1].tolist(), starts[1:].tolist())):
            self._writer.write(first_identity + label, b"", [start, _rounded(stop)], id=first_identity + label)
        self._writer.rewrite_first(b"", [first_identity, _rounded(first_identity + len(self.counts_C))])


def _rounded(number: int) -> float:
    # Only the first number of a row is kept exact above 2^24; readers find the other one from the keys.
    return float(np.float32(number)) if number >= EXACT_LABELS else float(number)


def write_set(
    folder: Path,
    images: Iterable[tuple[int, bytes | memoryview]],
    *,
    num_classes: int,
    size: tuple[int, int],
    names: Sequence[str] | None,
) -> np.ndarray:
    """Write (label, JPEG) by ascending label as a set into `folder`; returns how many images each has, int64 (C,)."""
    with RecordWriter(folder / "train.rec") as writer:
        layout = LayoutWriter(writer, num_classes)
        for label, jpeg in images:
            layout.add(label, jpeg)
        layout.finish()
    describe(folder, num_classes, size, names)
    return layout.counts_C


def describe(folder: Path, num_classes: int, size: tuple[int, int], names: Sequence[str] | None) -> None:
    """Write `property`, and `identities.txt` where the identities have names; `size` is (height, width)."""
    write_text(folder / "property", f"{num_classes},{size[0]},{size[1]}")
    if names is not None:
        write_text(folder / NAMES, "".join(f"{name}\n" for name in names))


def without_images(counts_C: np.ndarray, names: Sequence[str] | None) -> tuple[str, ...]:
    """The remark that names identities which have no image, where there are any."""
    empty = np.flatnonzero(counts_C == 0).tolist()
    if not empty:
        return ()
    shown = ", ".join(names[label] if names is not None else str(label) for label in empty[:5])
    more = ", ..." if len(empty) > 5 else ""
    return (f"{len(empty)} of {len(counts_C)} identities have no image: {shown}{more}; they keep their labels",)


def read_names(reader: RecordReader) -> list[str] | None:
    """The names in `identities.txt`, None where there is none; InputError for one that cannot be a folder, or twice."""
    path = reader.path.with_name(NAMES)
    if not path.exists():
        return None
    # Not splitlines: a name may hold one of the characters that Unicode counts as an end of line.
    names = path.read_text(encoding="utf-8", errors="surrogateescape").removesuffix("\n").split("\n")
    for line, name in enumerate(names, start=1):
        if problem := name_problem(name):
            raise InputError(f"{path}: line {line} is {name!r}, {problem}; correct or delete the file")
    if len(set(names)) < len(names):
        raise InputError(f"{path}: two identities have the same name; correct or delete the file")
    return names


def name_problem(name: str) -> str | None:
    """Why `name` cannot be that of an identity: it must be a line, and a folder that leads nowhere else."""
    if name in ("", ".", "..") or any(character in name for character in "/\\\0\n\r"):
        return "which cannot be a folder"
    return None


@contextmanager
def new_folder(out_dir: Path) -> Iterator[Path]:
    """A folder aside that becomes `out_dir` when the block ends well, and is removed when it does not.

    InputError, before anything is made, when `out_dir` exists and is not empty, when it is such that no folder can take
    its place, and while another process makes it. What a killed one left aside goes.
    """
    if out_dir.exists() and (not out_dir.is_dir() or any(out_dir.iterdir())):
        raise InputError(f"{out_dir}: already exists; give the name of a new folder")
    if out_dir.name in ("", "..") or out_dir.is_symlink() or out_dir.is_mount():
        # At once: that its name cannot be given to another folder would show when all the work is done.
        raise InputError(f"{out_dir}: is a folder to stay (a link, a disk, or `.`); give the name of a new one in it")
    aside = out_dir.with_name(out_dir.name + ".partial")
    with naming(out_dir):
        aside.mkdir(parents=True, exist_ok=True)
        handle = os.open(aside, os.O_RDONLY | os.O_CLOEXEC)
        try:
            hold(handle, aside)
            with _removed_unless_renamed(aside, out_dir):
                yield aside
        finally:
            os.close(handle)


@contextmanager
def _removed_unless_renamed(aside: Path, name: Path) -> Iterator[None]:
    """Empty the folder `aside`, for it to be filled and then called `name`; any error removes it."""
    try:
        for left in aside.iterdir():
            shutil.rmtree(left) if left.is_dir() and not left.is_symlink() else left.unlink()
        yield
        os.replace(aside, name)
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise
