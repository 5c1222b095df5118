"""Which identities of several sets become which identity of one: pure tables of labels and names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from recognition.errors import InputError
from recognition.records.layout import NAMES, name_problem
from recognition.records.tables import Table

LEFT_OUT = -1


@dataclass(frozen=True)
class Identities:
    """Those of the set at `path`: their names (None: there is no identities.txt), and which have images, bool (C,)."""

    path: Path
    names: list[str] | None
    present_C: np.ndarray

    def __len__(self) -> int:
        return len(self.present_C)


@dataclass(frozen=True)
class Joined:
    """`new_labels`: of each set, int64 (C,), LEFT_OUT for an identity that goes nowhere; `names` by new label."""

    new_labels: list[np.ndarray]
    num_classes: int
    names: list[str] | None


def apart(sets: Sequence[Identities]) -> Joined:
    """The identities of each set after those of the sets before: no two are one."""
    starts = np.cumsum([0] + [len(each) for each in sets]).tolist()
    new_labels = [np.arange(start, start + len(each), dtype=np.int64) for start, each in zip(starts, sets)]
    return Joined(new_labels, starts[-1], _names(sets, new_labels, starts[-1]))


def by_name(sets: Sequence[Identities]) -> Joined:
    """Equal names are one identity; labels by first appearance, so those of the first set stay."""
    for each in sets:
        if each.names is None:
            raise InputError(
                f"{each.path.with_name(NAMES)}: is not there, so identities have no names to go by; write it"
            )
        if len(each.names) < len(each):
            raise InputError(
                f"{each.path.with_name(NAMES)}: has {len(each.names)} lines for {len(each)} identities; complete it"
            )
    label_of: dict[str, int] = {}
    new_labels = [
        np.array([label_of.setdefault(name, len(label_of)) for name in each.names[: len(each)]], np.int64)
        for each in sets
    ]
    return Joined(new_labels, len(label_of), list(label_of))


def by_table(sets: Sequence[Identities], path: Path) -> Joined:
    """As a CSV says: columns set, label and new_label, or instead of that name (equal names are one identity).

    `set` is 1, 2, 3, ... in the order of the command line, or the name of the set's folder. A row whose last column is
    empty leaves that identity out; each identity that has images needs a row. New labels are 0, 1, 2, ... without gaps.
    """
    table = Table(path)
    set_at, label_at = table.place("set"), table.place("label")
    new_at, name_at = table.place("new_label"), table.place("name")
    if set_at is None or label_at is None or (new_at is None and name_at is None):
        raise table.wrong_header("set, label and new_label or name")
    new_labels = [np.full(len(each), LEFT_OUT, np.int64) for each in sets]
    lines = [np.zeros(len(each), np.int64) for each in sets]
    label_of: dict[str, int] = {}
    for line, row in table:
        number = _set_number(table, line, row[set_at], sets)
        label = table.number(line, "label", row[label_at])
        if label >= len(sets[number]):
            raise table.error(line, f"label {label} is not one of the {len(sets[number])} of {sets[number].path}")
        if lines[number][label]:
            raise table.error(line, f"label {label} of {sets[number].path} was in line {lines[number][label]} already")
        lines[number][label] = line
        if new_at is not None and row[new_at].strip():
            new_labels[number][label] = table.number(line, "new_label", row[new_at])
        elif new_at is None and row[name_at]:
            if problem := name_problem(row[name_at]):
                raise table.error(line, f"name {row[name_at]!r}, {problem}; correct it")
            new_labels[number][label] = label_of.setdefault(row[name_at], len(label_of))
    for each, seen in zip(sets, lines):
        absent = np.flatnonzero(each.present_C & (seen == 0))
        if len(absent):
            raise InputError(
                f"{path}: has no row for label {absent[0]} of {each.path}, nor for {len(absent) - 1} more that have "
                f"images; a row without a new label leaves one out"
            )
    used = np.unique(np.concatenate(new_labels))
    used = used[used != LEFT_OUT]
    gaps = np.flatnonzero(used != np.arange(len(used)))
    if not len(used) or len(gaps):
        raise InputError(f"{path}: no identity gets label {gaps[0] if len(gaps) else 0}; number them 0, 1, 2, ...")
    names = list(label_of) if new_at is None else _names(sets, new_labels, len(used))
    return Joined(new_labels, len(used), names)


def _set_number(table: Table, line: int, text: str, sets: Sequence[Identities]) -> int:
    named = [number for number, each in enumerate(sets) if each.path.resolve().parent.name == text]
    if len(named) == 1:
        return named[0]
    if text.isascii() and text.isdecimal() and 1 <= int(text) <= len(sets):
        return int(text) - 1
    raise table.error(line, f"set {text!r} is none of 1 to {len(sets)}, and not the name of one folder among them")


def _names(sets: Sequence[Identities], new_labels: Sequence[np.ndarray], num_classes: int) -> list[str] | None:
    """A name for each new label, that of its first identity; where two have one name, the later gets ~2, ~3, ..."""
    if all(each.names is None for each in sets):
        return None
    names: list[str | None] = [None] * num_classes
    taken: set[str] = set()
    for number, (each, labels) in enumerate(zip(sets, new_labels), start=1):
        known = each.names or []
        for label, new_label in enumerate(labels.tolist()):
            if new_label == LEFT_OUT or names[new_label] is not None:
                continue
            name = known[label] if label < len(known) else f"set{number}_{label:07d}"
            names[new_label] = _free(name, taken)
            taken.add(names[new_label])
    return names


def _free(name: str, taken: set[str]) -> str:
    free, turn = name, 1
    while free in taken:
        turn += 1
        free = f"{name}~{turn}"
    return free
