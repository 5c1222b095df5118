"""Samples from image files: a folder per identity, or a list."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from recognition.data.sources.content import Content
from recognition.data.sources.sample import Sample
from recognition.errors import InputError

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".ppm", ".pgm", ".tif", ".tiff", ".gif", ".jp2")


class FileSource:
    """Image files with a label each; what folders and lists come down to."""

    def __init__(self, paths: list[str], labels: np.ndarray, *, num_classes: int) -> None:
        self.paths, self._labels, self.num_classes = paths, labels, num_classes

    def __len__(self) -> int:
        return len(self.paths)

    def read(self, index: int) -> Sample:
        """Bytes of the file and its label; InputError when it cannot be read."""
        return Sample(read_image_file(self.paths[index]), int(self._labels[index]))

    def describe(self, index: int) -> str:
        """Path of the file."""
        return self.paths[index]

    def labels(self) -> np.ndarray:
        """int64 labels of all samples; not to be changed."""
        return self._labels

    def content(self, ends_bytes: int) -> Content:
        """Names below the common folder, sizes and labels; the files themselves are not opened."""
        folder = os.path.commonpath([os.path.dirname(path) for path in self.paths])
        for path, label in zip(self.paths, self._labels.tolist()):
            name = os.fsencode(os.path.relpath(path, folder))
            yield name + f"\0{os.stat(path).st_size}\0{label}".encode()


def read_image_file(path: str) -> bytes:
    """Bytes of an image file; InputError when it cannot be read."""
    try:
        return Path(path).read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a path with a NUL, which a damaged list may have
        reason = error.strerror if isinstance(error, OSError) else error
        raise InputError(f"{path}: cannot be read ({reason}); restore the file or leave it out") from error


class FolderSource(FileSource):
    """A folder per identity, sorted by name: the first is label 0. Images at any depth; `skipped`: the other files."""

    def __init__(self, root: str | Path) -> None:
        if not os.path.isdir(root):
            raise InputError(f"{root}: is not a folder; give a folder that holds one folder of images per identity")
        identities = sorted(
            entry.name for entry in os.scandir(root) if entry.is_dir() and not entry.name.startswith(".")
        )
        paths, counts = [], []
        self.skipped: list[str] = []
        for identity in identities:
            images, others = _images_below(os.path.join(root, identity))
            self.skipped += others
            if not images:
                raise InputError(
                    f"{os.path.join(root, identity)}: an identity without images; add images or remove the folder"
                )
            paths += images
            counts.append(len(images))
        if not paths:
            raise _no_identities(root)
        super().__init__(paths, np.repeat(np.arange(len(counts)), counts), num_classes=len(counts))


class ListSource(FileSource):
    """A tab-separated .lst file: im2rec's `index, label, path` or the older face2rec's `aligned, path, label`.

    Paths are relative to `root`, where none is given to the list's folder.
    """

    def __init__(self, lst: str | Path, *, root: str | Path | None = None) -> None:
        lst = Path(lst)
        paths, labels = [], []
        with open(lst, encoding="utf-8", errors="surrogateescape") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    path, label = _parse_list_line(line.rstrip("\r\n").split("\t"), f"{lst} line {number}")
                    paths.append(os.path.join(lst.parent if root is None else root, path))
                    labels.append(label)
        if not paths:
            raise InputError(
                f"{lst}: the list is empty; write one image per line: index, label, path, separated by tabs"
            )
        super().__init__(paths, np.array(labels, np.int64), num_classes=max(labels) + 1)


def _no_identities(root: str | Path) -> InputError:
    """What a folder without a folder per identity most likely is instead."""
    names = sorted(entry.name for entry in os.scandir(root) if entry.is_file() and not entry.name.startswith("."))
    if any(name.endswith(".rec") for name in names):
        return InputError(
            f"{root}: is a set of records, not one folder of images per identity; launch/records.py unpack makes one"
        )
    if images := [name for name in names if name.lower().endswith(IMAGE_SUFFIXES)]:
        return InputError(
            f"{root}: its images, {images[0]} the first, lie in no folder per identity; sort them into such folders, "
            "or name who is who in a CSV with the columns path and name, which launch/records.py pack takes"
        )
    return InputError(
        f"{root}: holds neither train.rec nor shards (.rec, .tar or .parquet) nor one folder of images per identity; "
        "is it the right one?"
    )


def _images_below(folder: str) -> tuple[list[str], list[str]]:
    """Image files at any depth, sorted, and the files that are none by their suffix; hidden ones do not count."""
    images, others = [], []
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            inner = _images_below(entry.path)
            images += inner[0]
            others += inner[1]
        elif entry.name.lower().endswith(IMAGE_SUFFIXES):
            images.append(entry.path)
        else:
            others.append(entry.path)
    return images, others


def _parse_list_line(fields: list[str], where: str) -> tuple[str, int]:
    """(path, label) of one line; the label is the second field of im2rec's lines and the third of face2rec's."""
    for label, path in ((1, -1), (2, 1)):
        value = _number(fields[label]) if len(fields) > 2 else None
        if value is None:
            continue
        if value < 0 or not value.is_integer():
            raise InputError(f"{where}: label {fields[label]} is not a class number; use 0, 1, 2, ...")
        return fields[path], int(value)
    raise InputError(f"{where}: expected `index<TAB>label<TAB>path` or `aligned<TAB>path<TAB>label`; correct the line")


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
