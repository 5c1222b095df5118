"""CSV files with a header: read, separated by commas or tabs, each row with the line that an error about it names; and
written. File names that are no UTF-8 survive both."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from recognition.atomic import naming
from recognition.errors import InputError


@contextmanager
def new_table(path: Path, columns: Sequence[str]) -> Iterator[Callable[[Iterable], object]]:
    """What adds a row to a new table at `path`, whose header names the `columns`; an OSError names `path`."""
    with naming(path), open(path, "w", encoding="utf-8", errors="surrogateescape", newline="") as file:
        add_row = csv.writer(file, lineterminator="\n").writerow
        add_row(columns)
        yield add_row


class Table:
    """The table at `path`; `columns` are the names in its header, in lower case. InputError when it cannot be read."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with self._opened() as file:
            self._header = file.readline(1 << 16)
        self._separator = "\t" if "\t" in self._header else ","
        self.columns = [column.strip(' "\r\n').lower() for column in self._header.split(self._separator)]

    def place(self, *columns: str) -> int | None:
        """Where in each row the first of `columns` that is there stands; None when there is none of them."""
        return next((self.columns.index(column) for column in columns if column in self.columns), None)

    def wrong_header(self, expected: str) -> InputError:
        """The error that the header lacks columns."""
        found = self._header.strip()[:80]
        return InputError(
            f"{self.path}, line 1: expected a header with the columns {expected}, separated by commas or tabs, found "
            f"{found!r}; correct it"
        )

    def __iter__(self) -> Iterator[tuple[int, list[str]]]:
        """Line number and fields of each row below the header that is not empty; InputError for one that is short."""
        with self._opened() as file:
            rows = csv.reader(file, delimiter=self._separator)
            try:
                next(rows, None)
                for fields in rows:
                    if not any(field.strip() for field in fields):
                        continue
                    if len(fields) < len(self.columns):
                        raise self.error(rows.line_num, f"{len(fields)} columns of {len(self.columns)}; complete it")
                    yield rows.line_num, fields
            except csv.Error as error:
                raise self.error(rows.line_num, f"cannot be read ({error}); correct it") from error

    def error(self, line: int, problem: str) -> InputError:
        """The error that says `problem` about a line."""
        return InputError(f"{self.path}, line {line}: {problem}")

    def number(self, line: int, column: str, text: str) -> int:
        """The whole number that `text` is; InputError when it is none."""
        text = text.strip()
        if not (text.isascii() and text.isdecimal() and len(text) <= 18):
            raise self.error(line, f"{column} {text[:40]!r} is no whole number; use 0, 1, 2, ...")
        return int(text)

    def _opened(self) -> TextIO:
        try:
            return open(self.path, encoding="utf-8-sig", errors="surrogateescape", newline="")
        except OSError as error:
            raise InputError(f"{self.path}: cannot be read ({error.strerror}); give a CSV file") from error
