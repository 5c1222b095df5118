"""Which group each pair belongs to, from a column of a table."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from recognition.errors import InputError

COLUMN = "group"


def read_groups(path: Path, places: Sequence[int]) -> list[str]:
    """The group of each pair, from the column `group` of a CSV file with a row for each pair, in the set's order.

    `places`: which row each pair has, where pairs were put in the order of their folds. InputError for a file that
    cannot be read, has no such column or not as many rows, or an empty group.
    """
    try:
        with open(path, newline="", encoding="utf-8-sig", errors="surrogateescape") as file:
            reader = csv.DictReader(file)
            columns = reader.fieldnames or []
            if COLUMN not in columns:
                raise InputError(f"{path}: has the columns {', '.join(columns) or '(none)'}, but none named {COLUMN!r}")
            groups = [(row[COLUMN] or "").strip() for row in reader]
    except (OSError, csv.Error) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise InputError(f"{path}: cannot be read ({reason}); --groups wants a CSV file with a row a pair") from error
    if len(groups) != len(places):
        raise InputError(f"{path}: has {len(groups)} rows for {len(places)} pairs; give one for each, in their order")
    if "" in groups:
        raise InputError(f"{path}: the group of pair {groups.index('')} is empty; name it, if only `unknown`")
    return [groups[place] for place in places]
