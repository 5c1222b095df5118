"""Which identities persist from the data set of an earlier model: a label of ours for each label of its."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from os import PathLike
from pathlib import Path

import numpy as np

from recognition.errors import InputError

COLUMNS = ("label", "old_label")
FRESH = -1


def old_labels(class_map: str | PathLike, *, num_classes: int, num_old: int) -> np.ndarray:
    """The old label of each of our classes, int64 (num_classes,), -1 for those that the earlier model did not have.

    `class_map` is "same" (as many as both have keep their label) or a CSV file with the columns label and old_label, in
    any order and among others. InputError with the line of a label that is no number, out of range, or there twice.
    """
    if class_map == "same":
        labels = np.arange(num_classes, dtype=np.int64)
        return np.where(labels < num_old, labels, FRESH)
    path = Path(class_map)
    olds_C = np.full(num_classes, FRESH, dtype=np.int64)
    lines: tuple[dict[int, int], dict[int, int]] = ({}, {})
    for line, pair in _rows(path):
        numbers = []
        for column, text, limit, seen in zip(COLUMNS, pair, (num_classes, num_old), lines):
            where = f"{path}, line {line}: {column}"
            if not re.fullmatch(r"[+-]?[0-9]{1,18}", text):
                raise InputError(f"{where} {text!r} is no whole number")
            number = int(text)
            if not 0 <= number < limit:
                whose = "this training set" if column == "label" else "the model that init names"
                raise InputError(f"{where} {number} is out of range: {whose} has {limit} classes, counted from 0")
            if number in seen:
                raise InputError(f"{where} {number} was there in line {seen[number]}; one identity stays one identity")
            seen[number] = line
            numbers.append(number)
        olds_C[numbers[0]] = numbers[1]
    return olds_C


def _rows(path: Path) -> Iterator[tuple[int, tuple[str, str]]]:
    """Line number, and the texts in the two columns, of every line below the header that is not empty."""
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file)
            header = [name.strip() for name in next(reader, [])]
            if not set(COLUMNS) <= set(header):
                raise InputError(
                    f"{path}, line 1: expected a header with label and old_label, found {','.join(header)!r}"
                )
            label, old_label = map(header.index, COLUMNS)
            for row in reader:
                if not any(row):
                    continue
                if len(row) <= max(label, old_label):
                    raise InputError(f"{path}, line {reader.line_num}: {len(row)} columns of {len(header)}")
                yield reader.line_num, (row[label].strip(), row[old_label].strip())
    except FileNotFoundError as error:
        raise InputError(f"class_map={path} does not exist; name a CSV file, or write class_map=same") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path} is not a readable CSV file ({error})") from error
