"""What is to be packed: a folder per identity, a `.lst`, or a table of paths -> image files by ascending label."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from recognition.data.sources import FileSource, FolderSource, ListSource
from recognition.errors import InputError
from recognition.records.layout import name_problem

NAME_COLUMNS = ("name", "identity")


@dataclass(frozen=True)
class Listing:
    """Images to pack: `source` by ascending label, the `names` of its identities where they have some, remarks."""

    source: FileSource
    names: list[str] | None
    remarks: tuple[str, ...] = ()


def list_images(given: str | Path, *, root: str | Path | None = None) -> Listing:
    """The images that a folder, a `.lst` or a table (CSV) names; paths in the files are relative to `root`.

    InputError for what is none of these, for bad lines, and unless labels are 0, 1, 2, ... without a gap.
    """
    given = Path(given)
    if given.is_dir():
        if root is not None:
            raise InputError(f"{given} is a folder: its images are found by themselves; leave out the root {root}")
        return list_folder(given)
    if not given.exists():
        raise InputError(f"{given} does not exist; give a folder with one folder per identity, a .lst or a CSV file")
    if given.suffix.lower() in (".csv", ".tsv") or _begins_as_table(given):
        return _of_table(given, given.parent if root is None else root)
    source = ListSource(given, root=root)
    return Listing(_by_label(given, source.paths, source.labels()), None)


def list_folder(folder: str | Path) -> Listing:
    """The images below a folder per identity: the names sorted are labels 0, 1, 2, ..."""
    source = FolderSource(folder)
    first_of_class = np.searchsorted(source.labels(), np.arange(source.num_classes))
    names = [Path(source.paths[place]).relative_to(folder).parts[0] for place in first_of_class]
    for name in names:
        if problem := name_problem(name):
            raise InputError(f"{folder}: the folder {name!r} has a name {problem} again; rename it")
    if not source.skipped:
        return Listing(source, names)
    skipped = f"{len(source.skipped)} files were left out, no pictures by their suffix, first {source.skipped[0]}"
    return Listing(source, names, (skipped,))


def _by_label(given: Path, paths: list[str], labels: np.ndarray) -> FileSource:
    """The images sorted by label, those of one in the order of their lines; InputError for a gap in the labels."""
    present = np.unique(labels)
    gaps = np.flatnonzero(present != np.arange(len(present)))
    if len(gaps):
        raise InputError(
            f"{given}: no image has label {gaps[0]}, though labels go up to {present[-1]}; number them 0, 1, 2, ..."
        )
    order = np.argsort(labels, kind="stable")
    return FileSource([paths[i] for i in order], labels[order], num_classes=len(present))


def _begins_as_table(given: Path) -> bool:
    with open(given, encoding="utf-8-sig", errors="surrogateescape") as file:
        header = _columns(next(iter(file), ""))
    return "path" in header and any(column in header for column in ("label", *NAME_COLUMNS))


def _columns(line: str) -> list[str]:
    separator = _separator(line)
    return [column.strip().lower() for column in next(csv.reader([line], delimiter=separator), [])]


def _separator(header: str) -> str:
    return "\t" if "\t" in header else ","


def _of_table(given: Path, root: str | Path) -> Listing:
    paths, labels, names = [], [], []
    for line, (path, label, name) in _rows(given):
        if not path:
            raise InputError(f"{given}, line {line}: path is empty; name an image file")
        if label is not None and not (label.isascii() and label.isdecimal() and len(label) <= 18):
            raise InputError(
                f"{given}, line {line}: label {label!r} is no whole number; call the column `name` where it holds names"
            )
        if name is not None and (problem := name_problem(name)):
            raise InputError(f"{given}, line {line}: name {name!r}, {problem}; correct it")
        paths.append(os.path.join(root, path))
        labels.append(label)
        names.append(name)
    if not paths:
        raise InputError(f"{given}: names no images; write one a line below the header: path and label or name")
    if labels[0] is None:
        people = sorted(set(names))
        label_of = {name: label for label, name in enumerate(people)}
        numbers = np.array([label_of[name] for name in names], np.int64)
        return Listing(_by_label(given, paths, numbers), people)
    source = _by_label(given, paths, np.array([int(label) for label in labels], np.int64))
    return Listing(source, None if names[0] is None else _names_of(given, labels, names, source.num_classes))


def _names_of(given: Path, labels: list[str], names: list[str], num_classes: int) -> list[str]:
    """The name of each label; InputError where a label has two names, or a name two labels."""
    name_of: dict[int, str] = {}
    label_of: dict[str, int] = {}
    for label, name in zip(map(int, labels), names):
        if name_of.setdefault(label, name) != name:
            raise InputError(f"{given}: label {label} has the names {name_of[label]!r} and {name!r}; correct the table")
        if label_of.setdefault(name, label) != label:
            raise InputError(f"{given}: {name!r} has the labels {label_of[name]} and {label}; correct the table")
    return [name_of[label] for label in range(num_classes)]


def _rows(given: Path) -> Iterator[tuple[int, tuple[str, str | None, str | None]]]:
    """Line number, and (path, label, name) of each row; label or name is None where there is no such column."""
    with open(given, encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        first = next(iter(file), "")
        header = _columns(first)
        label, name = _place(header, "label"), _place(header, *NAME_COLUMNS)
        if "path" not in header or (label is None and name is None):
            raise InputError(
                f"{given}, line 1: expected a header with the columns path and label (0, 1, 2, ...) or name, "
                f"found {first.strip()[:80]!r}"
            )
        path = header.index("path")
        needed = max(place for place in (path, label, name) if place is not None)
        reader = csv.reader(file, delimiter=_separator(first))
        try:
            for row in reader:
                if not any(field.strip() for field in row):
                    continue
                line = reader.line_num + 1
                if len(row) <= needed:
                    raise InputError(f"{given}, line {line}: {len(row)} columns of {len(header)}; correct the line")
                picked = (None if place is None else row[place].strip() for place in (label, name))
                yield line, (row[path], *picked)
        except csv.Error as error:
            raise InputError(f"{given}, line {reader.line_num + 1}: cannot be read ({error}); correct it") from error


def _place(header: list[str], *columns: str) -> int | None:
    return next((header.index(column) for column in columns if column in header), None)
