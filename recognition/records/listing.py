"""What is to be packed: a folder per identity, a `.lst`, or a table of paths -> image files by ascending label."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from recognition.data.sources import FileSource, FolderSource, ListSource
from recognition.errors import InputError
from recognition.records.layout import name_problem
from recognition.records.tables import Table

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
    if given.suffix.lower() in (".csv", ".tsv") or "path" in Table(given).columns:
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


def _of_table(given: Path, root: str | Path) -> Listing:
    table = Table(given)
    path_at, label_at, name_at = table.place("path"), table.place("label"), table.place(*NAME_COLUMNS)
    if path_at is None or (label_at is None and name_at is None):
        raise table.wrong_header("path and label (0, 1, 2, ...) or name")
    paths, labels, names = [], [], []
    for line, row in table:
        if not row[path_at]:
            raise table.error(line, "path is empty; name an image file")
        paths.append(os.path.join(root, row[path_at]))
        if label_at is not None:
            labels.append(table.number(line, "label", row[label_at]))
        if name_at is not None:
            names.append(row[name_at])
            if problem := name_problem(names[-1]):
                raise table.error(line, f"name {names[-1]!r}, {problem}; correct it")
    if not paths:
        raise InputError(f"{given}: names no images; write one a line below the header")
    people = sorted(set(names))
    if label_at is None:
        label_of = {name: label for label, name in enumerate(people)}
        labels = [label_of[name] for name in names]
    source = _by_label(given, paths, np.array(labels, np.int64))
    if label_at is not None and name_at is not None:
        people = _names_of(given, labels, names, source.num_classes)
    return Listing(source, people or None)


def _names_of(given: Path, labels: list[int], names: list[str], num_classes: int) -> list[str]:
    """The name of each label; InputError where a label has two names, or a name two labels."""
    name_of: dict[int, str] = {}
    label_of: dict[str, int] = {}
    for label, name in zip(labels, names):
        if name_of.setdefault(label, name) != name:
            raise InputError(f"{given}: label {label} has the names {name_of[label]!r} and {name!r}; correct the table")
        if label_of.setdefault(name, label) != label:
            raise InputError(f"{given}: {name!r} has the labels {label_of[name]} and {label}; correct the table")
    return [name_of[label] for label in range(num_classes)]
