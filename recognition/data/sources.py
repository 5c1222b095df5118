"""Where samples come from: a record file, a folder per identity, a list, synthetic faces; (image, label) by index."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from recognition.data.record_format import record_place
from recognition.data.recordio import RecordReader
from recognition.data.synthetic import TRAINING, FaceRenderer
from recognition.errors import InputError

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".ppm", ".pgm", ".tif", ".tiff", ".gif", ".jp2")
SYNTHETIC_IMAGES = 1_000_000


@dataclass(frozen=True, slots=True)
class Sample:
    """`payload`: encoded image bytes, or uint8 (H, W, 3) RGB pixels; `label`: class in [0, num_classes)."""

    payload: bytes | memoryview | np.ndarray
    label: int


class Source(Protocol):
    """Samples by index in [0, len); `read` is called from many threads at once."""

    num_classes: int | None

    def __len__(self) -> int: ...

    def read(self, index: int) -> Sample:
        """The sample at `index`; InputError naming file and place when it cannot be read."""
        ...

    def describe(self, index: int) -> str:
        """Where that sample lies, for error messages."""
        ...


class RecordSource:
    """Image records of a RecordIO file, in the order of their keys; header and identity records are left out."""

    def __init__(self, rec: str | Path, *, num_classes: int | None = None) -> None:
        self.reader = RecordReader(rec)
        self.keys = self.reader.image_keys
        self.num_classes = num_classes or self.reader.num_classes

    def __len__(self) -> int:
        return len(self.keys)

    def read(self, index: int) -> Sample:
        """Payload (a view of the file) and label; InputError for a damaged record or a label beyond num_classes."""
        record = self.reader.read(self.keys[index])
        return Sample(record.payload, record.label_below(self.num_classes))

    def describe(self, index: int) -> str:
        """`FILE key KEY at offset OFFSET`."""
        key = int(self.keys[index])
        return record_place(self.reader.path, key, self.reader.offset(key))


class FileSource:
    """Image files with a label each; what folders and lists come down to."""

    def __init__(self, paths: list[str], labels: np.ndarray, *, num_classes: int) -> None:
        self.paths, self.labels, self.num_classes = paths, labels, num_classes

    def __len__(self) -> int:
        return len(self.paths)

    def read(self, index: int) -> Sample:
        """Bytes of the file and its label; InputError when it cannot be read."""
        return Sample(read_image_file(self.paths[index]), int(self.labels[index]))

    def describe(self, index: int) -> str:
        """Path of the file."""
        return self.paths[index]


def read_image_file(path: str) -> bytes:
    """Bytes of an image file; InputError when it cannot be read."""
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); restore the file or leave it out") from error


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
            raise InputError(
                f"{root}: holds neither train.rec nor one folder of images per identity; is it the right one?"
            )
        super().__init__(paths, np.repeat(np.arange(len(counts)), counts), num_classes=len(counts))


class ListSource(FileSource):
    """A tab-separated .lst file: im2rec's `index, label, path` or the older face2rec's `aligned, path, label`.

    Paths are relative to the list's folder.
    """

    def __init__(self, lst: str | Path) -> None:
        lst = Path(lst)
        paths, labels = [], []
        with open(lst, encoding="utf-8", errors="surrogateescape") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    path, label = _parse_list_line(line.rstrip("\r\n").split("\t"), f"{lst} line {number}")
                    paths.append(os.path.join(lst.parent, path))
                    labels.append(label)
        if not paths:
            raise InputError(
                f"{lst}: the list is empty; write one image per line: index, label, path, separated by tabs"
            )
        super().__init__(paths, np.array(labels, np.int64), num_classes=max(labels) + 1)


class SyntheticSource:
    """Procedural faces (synthetic.py): image `index` shows identity `index % num_classes`."""

    def __init__(
        self, *, num_classes: int, num_image: int = SYNTHETIC_IMAGES, seed: int = 0, image_size: int = 112
    ) -> None:
        self.num_classes, self.num_image, self.seed = num_classes, num_image, seed
        self.renderer = FaceRenderer(image_size)

    def __len__(self) -> int:
        return self.num_image

    def read(self, index: int) -> Sample:
        """Pixels uint8 (H, W, 3) and the label."""
        label = int(index) % self.num_classes
        return Sample(self.renderer.draw(self.seed, TRAINING, label, int(index)), label)

    def describe(self, index: int) -> str:
        """`synthetic image INDEX`."""
        return f"synthetic image {index}"


def open_source(
    rec: str | Path,
    *,
    num_classes: int | None = None,
    num_image: int | None = None,
    seed: int = 0,
    image_size: int = 112,
) -> Source:
    """The source that `rec` names: "synthetic", a folder with train.rec, a .rec or .lst file, or a folder per identity.

    `num_classes` may exceed what the data has, not fall short of it; `num_image`, `seed` and `image_size` shape
    synthetic data only. InputError when nothing is there, nothing is in it, or the number of classes is not known.
    """
    if rec == "synthetic":
        if not num_classes:
            raise InputError('rec="synthetic" can draw any number of identities; set num_classes')
        return SyntheticSource(
            num_classes=num_classes, num_image=num_image or SYNTHETIC_IMAGES, seed=seed, image_size=image_size
        )
    path = Path(rec)
    if not path.exists():
        raise InputError(
            f"rec={str(rec)!r} does not exist; give a folder with train.rec or one folder per identity, or a .lst file"
        )
    source = _open_path(path)
    if not len(source):
        raise InputError(f"{rec}: holds no image records; pack the set again, or check that rec names the right folder")
    if source.num_classes is None and not num_classes:
        raise InputError(
            f"{rec}: neither `property` nor identity records say how many identities there are; set num_classes, "
            f"or write `property` beside train.rec: NUM_CLASSES,{image_size},{image_size}"
        )
    if num_classes and source.num_classes is not None and source.num_classes > num_classes:
        raise InputError(
            f"{rec}: holds {source.num_classes} identities, but num_classes={num_classes}; "
            f"set num_classes={source.num_classes} or leave it out"
        )
    source.num_classes = num_classes or source.num_classes
    return source


def _open_path(path: Path) -> RecordSource | FileSource:
    if path.is_file():
        if path.suffix == ".rec":
            return RecordSource(path)
        if path.suffix == ".lst":
            return ListSource(path)
        raise InputError(f"{path}: is neither a .rec nor a .lst file; give one of these, or the folder with train.rec")
    if (path / "train.rec").exists():
        return RecordSource(path / "train.rec")
    if (path / "train.idx").exists():
        raise InputError(f"{path}: has train.idx but no train.rec; copy train.rec beside it")
    others = sorted(path.glob("*.rec"))
    if others:
        raise InputError(f"{path}: holds {others[0].name} but no train.rec; set rec={others[0]}")
    return FolderSource(path)


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
