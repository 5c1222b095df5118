"""Lists of pairs, in the forms that people have them."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from recognition.errors import InputError

FOLDS = 10
PathPair = tuple[str, str]
FORM = "write `path,path,1` or `path,path,0`, and after it the number of its fold if you have folds"
PERSONS = ("first_person", "second_person")
NEEDED, MORE = ("first", "second", "same"), ("fold", "group", *PERSONS)
ALSO_CALLED = {"path1": "first", "path2": "second", "issame": "same", "person1": PERSONS[0], "person2": PERSONS[1]}
SAME = {"1": True, "0": False, "-1": False}


class ListedPairs(NamedTuple):
    """P pairs of paths and P flags in the order of their folds; `places`: which of the list's pairs each one was.

    `groups`: the group of each pair where the list has a column of that name; `people`: who is on its two pictures,
    where the list says so.
    """

    pairs: list[PathPair]
    issame: list[bool]
    places: list[int]
    groups: list[str] | None = None
    people: list[tuple[str, str]] | None = None


def read_pair_list(path: str | Path, folder: str | Path) -> ListedPairs:
    """The pairs of paths below `folder` and their flags from a list with commas, tabs or, in their place, spaces.

    Lines are `path,path,1` for one person and `path,path,0` (or -1) for two, or with the flag first. A fourth field is
    the number of the fold: then pairs are ordered by it, and there must be 10 folds of one size, as readers of `.bin`
    files cut them into 10 equal blocks. Or the lines are those of LFW's pairs.txt: `name a b` is name/name_000a.jpg and
    name/name_000b.jpg, `name a other b` are two people; its first line says how many folds and how many pairs of either
    kind in each. Or the first line names the columns: `first`, `second`, `same`, and `fold`, `group`, `first_person`
    and `second_person` if there are any, in any order. InputError naming the line that is none of these or contradicts
    its people, and for a list that has fewer pairs than it says.
    """
    path, announced = Path(path), None
    if columns := _columns(path):
        return _read_columns(path, folder, columns)
    pairs: list[PathPair] = []
    issame: list[bool] = []
    folds: list[str] = []
    people: list[tuple[str, str] | None] = []
    for number, line in enumerate(lines_of(path), 1):
        fields, who = _fields(line), None
        match fields:
            case []:
                continue
            case ["path1" | "name", *_] if number == 1:
                continue
            case [count] if number == 1 and count.isdecimal():
                announced = 2 * int(count)
                continue
            case [folds_of_list, count] if number == 1 and folds_of_list.isdecimal() and count.isdecimal():
                announced = 2 * int(folds_of_list) * int(count)
                continue
            case [one, two, ("0" | "1" | "-1") as flag] if not two.isdecimal():
                names = one, two
            case [("0" | "1" | "-1") as flag, one, two] if not two.isdecimal():
                names = one, two
            case [one, two, ("0" | "1" | "-1") as flag, fold] if not two.isdecimal() and fold.isdecimal():
                names = one, two
                folds.append(fold)
            case [name, a, b] if a.isdecimal() and b.isdecimal():
                names, flag, who = (_lfw_name(name, a), _lfw_name(name, b)), "1", (name, name)
            case [one, a, two, b] if a.isdecimal() and b.isdecimal():
                names, flag, who = (_lfw_name(one, a), _lfw_name(two, b)), "0", (one, two)
            case _:
                raise InputError(f"{path}: line {number} is {line[:60]!r}; {FORM}")
        pairs.append((os.path.join(folder, names[0]), os.path.join(folder, names[1])))
        issame.append(flag == "1")
        people.append(_checked(path, number, who, issame[-1]))
    if not pairs:
        raise InputError(f"{path}: holds no pairs; {FORM}")
    if announced not in (None, len(pairs)):
        raise InputError(f"{path}: its first line means {announced} pairs, but it has {len(pairs)}; is it cut short?")
    if folds:
        return in_folds(path, pairs, issame, folds)
    return ListedPairs(pairs, issame, list(range(len(pairs))), people=None if None in people else people)


def _columns(path: Path) -> list[str] | None:
    """What the first line calls the columns; None where it is no such line, InputError for a column not known."""
    names = [name.lower() for name in _fields(next(iter(lines_of(path)), ""))]
    columns = [ALSO_CALLED.get(name, name) for name in names]
    if not set(NEEDED) <= set(columns):
        return None
    for name, column in zip(names, columns):
        if column not in (*NEEDED, *MORE) or columns.count(column) > 1:
            why = "stands there twice" if column in (*NEEDED, *MORE) else "is not known"
            raise InputError(f"{path}: its column {name!r} {why}; columns are {', '.join((*NEEDED, *MORE))}")
    if len(named := [column for column in PERSONS if column in columns]) == 1:
        raise InputError(f"{path}: has the column {named[0]!r} alone; name both people of a pair, or neither")
    return columns


def _read_columns(path: Path, folder: str | Path, columns: list[str]) -> ListedPairs:
    rows, people = [], []
    for number, line in enumerate(lines_of(path)[1:], 2):
        fields = _fields(line)
        if not fields:
            continue
        row = dict(zip(columns, fields))
        fold = row.get("fold", "0")
        if len(fields) != len(columns) or row["same"] not in SAME or not fold.isdecimal() or "" in fields:
            raise InputError(
                f"{path}: line {number} is {line[:60]!r}; it needs {', '.join(columns)}, with 1 or 0 for same"
                f"{' and a number for fold' if 'fold' in columns else ''}"
            )
        rows.append(row)
        if PERSONS[0] in columns:
            people.append(_checked(path, number, (row[PERSONS[0]], row[PERSONS[1]]), SAME[row["same"]]))
    if not rows:
        raise InputError(f"{path}: holds no pairs; {FORM}")
    pairs = [(os.path.join(folder, row["first"]), os.path.join(folder, row["second"])) for row in rows]
    issame = [SAME[row["same"]] for row in rows]
    found = ListedPairs(pairs, issame, list(range(len(rows))))
    if "fold" in columns:
        found = in_folds(path, pairs, issame, [row["fold"] for row in rows])
    groups = [rows[place]["group"] for place in found.places] if "group" in columns else None
    return found._replace(groups=groups, people=[people[place] for place in found.places] if people else None)


def _checked(path: Path, number: int, who: tuple[str, str] | None, same: bool) -> tuple[str, str] | None:
    """The people of a line; InputError where they are not as many as its flag says."""
    if who is not None and (who[0] == who[1]) != same:
        kind = "one person" if same else "two people"
        raise InputError(f"{path}: line {number} says that {who[0]} and {who[1]} are {kind}; mend the flag or the name")
    return who


def in_folds(path: Path, pairs: Sequence[PathPair], issame: Sequence[bool], folds: Sequence[str]) -> ListedPairs:
    """Pairs and flags of the list `path` ordered by the number of their fold; InputError unless all folds are alike."""
    counts = Counter(map(int, folds))
    if len(folds) != len(pairs) or len(counts) != FOLDS or len(set(counts.values())) != 1:
        sizes = ", ".join(f"{fold}: {count}" for fold, count in sorted(counts.items())[: FOLDS + 1])
        raise InputError(
            f"{path}: its pairs are in folds of these sizes ({sizes}), {len(pairs) - len(folds)} are in none; a .bin "
            f"set has {FOLDS} folds of one size: put every pair in one of them, or in none"
        )
    order = np.argsort([int(fold) for fold in folds], kind="stable")
    return ListedPairs([pairs[place] for place in order], [issame[place] for place in order], order.tolist())


def lines_of(path: Path) -> list[str]:
    """Lines of a list; InputError when it cannot be read."""
    try:
        return path.read_text(encoding="utf-8-sig", errors="surrogateescape").splitlines()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); give the list of pairs") from error


def _fields(line: str) -> list[str]:
    separated = line.replace(",", "\t").split("\t") if "," in line or "\t" in line.strip() else line.split()
    fields = [field.strip() for field in separated]
    while fields and not fields[-1]:  # spreadsheets fill short rows up
        fields.pop()
    return fields


def _lfw_name(name: str, number: str) -> str:
    return os.path.join(name, f"{name}_{int(number):04d}.jpg")
