"""What the pages show of one target, whatever its kind."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from recognition.page import data_uri
from recognition.report.figures import Row

Picture = Callable[[int], str | None]
"""The data URI of the picture of that index; None where it cannot be shown."""


@dataclass(frozen=True)
class Chart:
    """A chart as a data URI, what it is for those who cannot see it, and how to read it."""

    uri: str
    alt: str
    caption: str


@dataclass(frozen=True)
class Table:
    """A table of texts; one that is `folded` is opened by a click."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    caption: str = ""
    folded: bool = False


@dataclass(frozen=True)
class Entry:
    """Something to look at: pictures as (data URI, what it is), and what is known of it."""

    pictures: tuple[tuple[str, str], ...]
    facts: dict[str, str]


@dataclass(frozen=True)
class Gallery:
    """Things to look at under one heading."""

    title: str
    caption: str
    entries: tuple[Entry, ...]

    @property
    def table(self) -> Table:
        """The same without the pictures."""
        header = tuple(dict.fromkeys(key for entry in self.entries for key in entry.facts))
        rows = tuple(tuple(entry.facts.get(key, "") for key in header) for entry in self.entries)
        return Table(self.title, header, rows, self.caption)


@dataclass(frozen=True)
class Details:
    """What is shown of one model alone."""

    name: str
    tables: list[Table] = field(default_factory=list)
    galleries: list[Gallery] = field(default_factory=list)


@dataclass(frozen=True)
class Section:
    """Plain sentences first, then figures of all models side by side, charts, tables, and each model by itself.

    `headline` are the rows that stand at the top of the report, too; `more` is a part of its own with its title.
    """

    sentences: list[str] = field(default_factory=list)
    headline: list[Row] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    charts: list[Chart] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    details: list[Details] = field(default_factory=list)
    more: tuple[str, Section] | None = None


def chart(svg: str | None, alt: str, caption: str) -> list[Chart]:
    """That chart, or none where nothing was drawn."""
    return [] if svg is None else [Chart(data_uri("svg+xml", svg), alt, caption)]


def pictures_of(picture: Picture, indices: Sequence[tuple[Any, str]]) -> tuple[tuple[str, str], ...]:
    """The pictures that can be shown of (index or None, what it is)."""
    found = ((picture(int(index)), what) for index, what in indices if index is not None)
    return tuple((uri, what) for uri, what in found if uri is not None)


def worst_shown(num_models: int) -> int:
    """How many of the worst mistakes of a model have room on the page."""
    return 6 if num_models == 1 else 3 if num_models <= 3 else 2
