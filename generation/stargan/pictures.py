"""Pictures with attributes: CelebA's layout, a folder for each attribute, or a record file with a vector of labels."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np

from generation.pictures import PictureCache, middle_classes, middle_pixels
from generation.stargan.attributes import AttributeTable, ambiguous_hair, read_attributes
from recognition.data.recordio import RecordReader
from recognition.data.sources.files import IMAGE_SUFFIXES, read_image_file
from recognition.errors import InputError
from recognition.permutation import permutation_keys, permute

CELEBA, FOLDERS, RECORDS = "CelebA", "folders", "records"
LAYOUTS = (CELEBA, FOLDERS, RECORDS)
TABLES = ("list_attr_celeba.txt", "list_attr.txt", "Anno/list_attr_celeba.txt")
PARTITIONS = ("list_eval_partition.txt", "Eval/list_eval_partition.txt")
FOLDERS_OF_PICTURES = ("", "images", "img_align_celeba", "Img/img_align_celeba", "img_align_celeba/img_align_celeba")
# Beside train.rec: the names of the numbers in a record's label, and in a second line whether they exclude each other.
NAMES, EXCLUSIVE = "attributes.txt", "exclusive"
TRAIN, TEST = "train", "test"
MOST_TEST = 2000  # pictures that are kept apart where nobody says how many, and no more than a tenth
TOLD = 3
_SPLIT = int.from_bytes(b"split", "big")


class Payloads(Protocol):
    """Encoded pictures by their number."""

    def read(self, index: int) -> bytes | memoryview:
        """The bytes of one; InputError for one that cannot be read."""
        ...

    def describe(self, index: int) -> str:
        """Where it lies."""
        ...


@dataclass(frozen=True)
class _Files:
    paths: tuple[str, ...]

    def read(self, index: int) -> bytes:
        return read_image_file(self.paths[index])

    def describe(self, index: int) -> str:
        return self.paths[index]


@dataclass(frozen=True, eq=False)
class _Records:
    reader: RecordReader

    def read(self, index: int) -> bytes | memoryview:
        return self.reader.read(int(self.reader.image_keys[index])).payload

    def describe(self, index: int) -> str:
        return f"{self.reader.path} key {self.reader.image_keys[index]}"


@dataclass(frozen=True, eq=False)
class AttributePictures:
    """Pictures of one size, uint8 (S, S, 3) RGB, with attributes, bool (N, A); `read` may be called from any thread.

    `part_N` says which are kept apart to test by; `left_out` why others are not in the set; `sha256` names all of it.
    """

    names: tuple[str, ...]
    labels_NA: np.ndarray
    image_size: int
    payloads: Payloads
    files: tuple[str, ...]
    rows_N: np.ndarray  # of payloads and files
    is_test_N: np.ndarray
    pictures: PictureCache[int]
    sha256: str
    left_out: tuple[str, ...] = ()
    exclusive: bool = False  # each picture has one attribute, and no other
    masks: PictureCache[int] | None = None

    def __len__(self) -> int:
        return len(self.rows_N)

    def read(self, index: int) -> np.ndarray:
        """A picture; InputError, with where it lies, for a damaged one."""
        return self.pictures.read(int(self.rows_N[index]))

    def mask(self, index: int) -> np.ndarray:
        """The class (recognition/heads/classes.py) of each pixel, uint8 (S, S); InputError where no file says."""
        return self.masks.read(int(self.rows_N[index]))

    def files_sha256(self) -> str:
        """By which it can be told whether two sets are of the same pictures."""
        return hashlib.sha256("\0".join(sorted(self.files[row] for row in self.rows_N)).encode()).hexdigest()

    def describe(self, index: int) -> str:
        """Where a picture lies."""
        return self.payloads.describe(int(self.rows_N[index]))

    def at(self, chosen: np.ndarray) -> AttributePictures:
        """Some of them, by index or as bool (N,)."""
        return replace(
            self, labels_NA=self.labels_NA[chosen], rows_N=self.rows_N[chosen], is_test_N=self.is_test_N[chosen]
        )

    def split(self, part: str) -> AttributePictures:
        """Those to train on, or those that are kept apart: always the same of the same set."""
        if part not in (TRAIN, TEST):
            raise ValueError(f"part {part!r} is neither {TRAIN} nor {TEST}")
        return self.at(self.is_test_N == (part == TEST))


@dataclass(frozen=True, eq=False)
class _Found:
    """What a layout holds: names and labels of all its pictures, their bytes, and what they are called."""

    table: AttributeTable
    payloads: Payloads
    is_test_N: np.ndarray | None
    left_out: tuple[str, ...] = ()
    exclusive: bool = False


def open_pictures(
    spec: str | Path,
    attr_path: str | Path | None,
    names: Sequence[str] | None,
    image_size: int,
    crop_size: int | None = None,
    *,
    layout: str | None = None,
    test_size: int | None = None,
    skip_missing: bool = False,
    cache_mb: int = 1024,
    masks: Path | None = None,
) -> AttributePictures:
    """The pictures of a folder with the attributes `names`, in this order (None: all), each its middle square.

    `layout` is one of LAYOUTS, or None to tell it by what is in the folder. `crop_size`: side of the square. Kept apart
    are what list_eval_partition.txt calls 2, else `test_size` pictures, the same for any seed of a run. Whose hair has
    two colours at once is left out. `masks`: folder of PNGs named as the pictures, the class of each pixel.
    InputError for a folder that holds none of the layouts, a table that does not fit it, and an attribute that is not
    there.
    """
    folder = Path(spec).expanduser()
    if not folder.is_dir():
        raise InputError(f"--data_dir {folder} is no folder; give the one that holds the pictures and their attributes")
    layout = layout or _layout_of(folder, attr_path)
    if layout == CELEBA:
        found = _celeba(folder, attr_path, skip_missing=skip_missing)
    else:
        found = _records(folder) if layout == RECORDS else _folders(folder)
    table = found.table if names is None else found.table.chosen(names)
    two_colours_N = ambiguous_hair(table.names, table.values_NA)
    left_out = found.left_out
    if two_colours_N.any():
        left_out += (f"{two_colours_N.sum()} of {len(two_colours_N)} pictures, whose hair has two colours at once",)
    kept_N = np.flatnonzero(~two_colours_N)
    if not len(kept_N):
        raise InputError(f"{folder} holds no picture whose attributes can be used ({'; '.join(left_out) or 'none'})")
    is_test_N = found.is_test_N
    if is_test_N is None:
        is_test_N = _drawn_apart(len(table.files), test_size)
    payloads = found.payloads

    def read(row: int) -> np.ndarray:
        return middle_pixels(payloads.read(row), lambda: payloads.describe(row), image_size, crop_size)

    return AttributePictures(
        table.names,
        table.values_NA[kept_N],
        image_size,
        payloads,
        table.files,
        kept_N,
        is_test_N[kept_N],
        PictureCache(read, cache_mb << 20),
        _sha256(table),
        left_out,
        found.exclusive,
        None if masks is None else _open_masks(masks, payloads, image_size, crop_size, cache_mb),
    )


def _open_masks(
    folder: Path, payloads: Payloads, image_size: int, crop_size: int | None, cache_mb: int
) -> PictureCache[int]:
    if not isinstance(payloads, _Files):
        raise InputError(f"--masks {folder} goes by the names of picture files, and record files have none")
    if not folder.is_dir():
        raise InputError(f"--masks {folder} is no folder; launch/parsing.py parse makes one")

    def read(row: int) -> np.ndarray:
        path = folder / f"{Path(payloads.paths[row]).stem}.png"
        if not path.is_file():
            raise InputError(f"{payloads.paths[row]} has no mask {path}; launch/parsing.py parse makes one")
        return middle_classes(path.read_bytes(), lambda: str(path), image_size, crop_size)

    return PictureCache(read, cache_mb << 20)


def _layout_of(folder: Path, attr_path: str | Path | None) -> str:
    if (folder / "train.rec").is_file():
        return RECORDS
    if attr_path is not None or any((folder / name).is_file() for name in TABLES):
        return CELEBA
    if any(entry.is_dir() for entry in os.scandir(folder)):
        return FOLDERS
    raise InputError(
        f"{folder} holds no {TABLES[0]} (CelebA's layout; or name the table with --attr_path), no train.rec, and no "
        "folder for each attribute"
    )


def _celeba(folder: Path, attr_path: str | Path | None, *, skip_missing: bool = False) -> _Found:
    table_path = Path(attr_path) if attr_path is not None else _first(folder, TABLES)
    if table_path is None:
        raise InputError(f"{folder} holds none of {', '.join(TABLES)}; name the table of attributes with --attr_path")
    table = read_attributes(table_path)
    places = [folder / place for place in FOLDERS_OF_PICTURES if (folder / place).is_dir()]
    home = next((place for place in places if (place / table.files[0]).is_file()), None)
    if home is None:
        home = next((place for place in places if (place / table.files[-1]).is_file()), None)
    if home is None:
        looked = ", ".join(str(place) for place in places)
        raise InputError(f"{table_path} names {table.files[0]}, which is in none of {looked}")
    there = {entry.name for entry in os.scandir(home)}
    has_N = np.array([name in there or (home / name).is_file() for name in table.files])
    left_out: tuple[str, ...] = ()
    if not has_N.all():
        missing = [name for name, has in zip(table.files, has_N) if not has]
        said = f"{len(missing)} of {len(has_N)} pictures of {table_path} are not in {home}"
        if not skip_missing:
            raise InputError(f"{said}: {', '.join(missing[:TOLD])} ...; bring them, or leave them out: --skip_missing")
        left_out = (said,)
    partition = _first(folder, PARTITIONS)
    is_test_N = None if partition is None else _partition(partition, table.files)
    files = tuple(name for name, has in zip(table.files, has_N) if has)
    kept = AttributeTable(table.names, files, table.values_NA[has_N])
    return _Found(
        kept,
        _Files(tuple(str(home / name) for name in files)),
        None if is_test_N is None else is_test_N[has_N],
        left_out,
    )


def _partition(path: Path, files: Sequence[str]) -> np.ndarray:
    """bool (N,): what CelebA's own file keeps apart; 0 is to train, 1 to validate, 2 to test."""
    parts = {}
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
        words = line.split()
        if len(words) != 2 or words[1] not in ("0", "1", "2"):
            raise InputError(f"{path} line {number}: {line.strip()!r} is no `file part` with part 0, 1 or 2")
        parts[words[0]] = words[1] == "2"
    if missing := next((name for name in files if name not in parts), None):
        raise InputError(f"{path} does not name {missing}, which the table of attributes has; copy both again")
    return np.array([parts[name] for name in files])


def _folders(folder: Path) -> _Found:
    """Each folder is an attribute that its pictures have, and no other."""
    homes = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    paths, places, skipped = [], [], 0
    for place, home in enumerate(homes):
        files = sorted(path for path in home.rglob("*") if path.is_file())
        images = [str(path) for path in files if path.suffix.lower() in IMAGE_SUFFIXES]
        if not images:
            raise InputError(f"{home} holds no picture; bring some, or remove the folder")
        skipped += len(files) - len(images)
        paths += images
        places += [place] * len(images)
    values_NA = np.eye(len(homes), dtype=bool)[places]
    files = tuple(os.path.relpath(path, folder) for path in paths)
    left_out = (f"{skipped} files that are no pictures",) if skipped else ()
    table = AttributeTable(tuple(home.name for home in homes), files, values_NA)
    return _Found(table, _Files(tuple(paths)), None, left_out, exclusive=True)


def _records(folder: Path) -> _Found:
    """train.rec, whose labels are vectors: above 0 is yes; the names of their numbers are in attributes.txt."""
    path = folder / NAMES
    if not path.is_file():
        raise InputError(f"{path} is not there: the names of the attributes in the labels of train.rec, one line")
    first, *more = path.read_text(encoding="utf-8").splitlines() or [""]
    names, exclusive = tuple(first.split()), EXCLUSIVE in (line.strip() for line in more)
    reader = RecordReader(folder / "train.rec")
    keys = reader.image_keys
    values_NA = np.empty((len(keys), len(names)), bool)
    for row, key in enumerate(keys):
        labels_A = reader.read(int(key)).labels
        if len(labels_A) != len(names):
            raise InputError(f"{reader.path} key {key}: {len(labels_A)} labels for the {len(names)} names in {path}")
        values_NA[row] = labels_A > 0
    table, partition = AttributeTable(names, tuple(map(str, keys)), values_NA), _first(folder, PARTITIONS)
    is_test_N = None if partition is None else _partition(partition, table.files)
    return _Found(table, _Records(reader), is_test_N, exclusive=exclusive)


def _drawn_apart(count: int, test_size: int | None) -> np.ndarray:
    size = min(MOST_TEST, count // 10) if test_size is None else test_size
    if not 0 <= size < count:
        raise InputError(f"--test_size {size}: must be below the {count} pictures there are")
    return permute(np.arange(count), count, permutation_keys(_SPLIT)) < size


def _sha256(table: AttributeTable) -> str:
    digest = hashlib.sha256("\0".join((*table.names, "", *table.files)).encode())
    digest.update(np.packbits(table.values_NA).tobytes())
    return digest.hexdigest()


def _first(folder: Path, names: Sequence[str]) -> Path | None:
    return next((folder / name for name in names if (folder / name).is_file()), None)
