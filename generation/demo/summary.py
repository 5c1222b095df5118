"""One page of all demonstrations: what each shows, its figures beside the least they should be, its reports.

The figures are read from the reports; which counts as too low decides what the command ends with.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from recognition.atomic import write_text
from recognition.errors import InputError
from recognition.page import data_uri, page_environment
from recognition.strict_json import finite

PAGE, FACTS, SCHEMA = "index.html", "demonstrations.json", "arcscale.demonstrations.1"
Step = str | int | Mapping[str, Any]


@dataclass(frozen=True)
class Figure:
    """A number of a report: `where` leads to it through keys, places in lists, and values that an entry has.

    `least`: below it the demonstration has failed; None for one that is only told. `form` is how a person reads it.
    """

    label: str
    file: str
    where: tuple[Step, ...]
    least: float | None = None
    form: str = "{:.3f}"


@dataclass(frozen=True)
class Demonstration:
    """A command of launch/, what it shows, and where under its folder the pages, the picture and the figures lie."""

    name: str
    title: str
    shows: str
    script: str
    folder: str
    pages: Mapping[str, str]
    figures: tuple[Figure, ...]
    picture: str | None = None


@dataclass(frozen=True)
class Found:
    """A figure as the report has it; None where the report does not."""

    figure: Figure
    value: float | None

    @property
    def is_met(self) -> bool:
        """Whether it is at least what it should be."""
        return self.figure.least is None or (self.value is not None and self.value >= self.figure.least)

    def shown(self) -> str:
        """As a person reads it."""
        return "not there" if self.value is None else self.figure.form.format(self.value)

    def least_shown(self) -> str:
        """What it should be at least."""
        return "" if self.figure.least is None else self.figure.form.format(self.figure.least)


def is_done(demonstration: Demonstration, out: Path) -> bool:
    """Whether all pages and reports of a demonstration are there."""
    wanted = [*demonstration.pages.values(), *(figure.file for figure in demonstration.figures)]
    return all((out / demonstration.folder / path).is_file() for path in wanted)


def figures_of(demonstration: Demonstration, out: Path) -> list[Found]:
    """The figures of a demonstration that has run; InputError for a report that cannot be read."""
    return [
        Found(figure, number_at(out / demonstration.folder / figure.file, figure.where))
        for figure in demonstration.figures
    ]


def write_summary(
    out: Path, demonstrations: Sequence[Demonstration], seconds: Mapping[str, float] | None = None
) -> tuple[Path, list[str]]:
    """Write the page and its facts into `out`; the page, and a sentence for each figure that is too low.

    `seconds`: how long those took that have just run, by name.
    """
    found = {each.name: figures_of(each, out) for each in demonstrations}
    environment = page_environment(Path(__file__).parent, escape=True)
    content = environment.get_template("summary.html").render(
        demonstrations=[_shown(each, out, found[each.name], (seconds or {}).get(each.name)) for each in demonstrations],
        created=datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
    )
    write_text(out / PAGE, content)
    facts = {
        "schema": SCHEMA,
        "demonstrations": {
            name: [{"label": f.figure.label, "value": f.value, "least": f.figure.least} for f in figures]
            for name, figures in found.items()
        },
    }
    write_text(out / FACTS, json.dumps(finite(facts), indent=1, allow_nan=False) + "\n")
    low = [
        f"{name}: {each.figure.label} is {each.shown()}, and should be at least {each.least_shown()}"
        for name, figures in found.items()
        for each in figures
        if not each.is_met
    ]
    return out / PAGE, low


def _shown(each: Demonstration, out: Path, found: Sequence[Found], seconds: float | None) -> dict[str, Any]:
    picture = out / each.folder / each.picture if each.picture else None
    return {
        "title": each.title,
        "shows": each.shows,
        "script": each.script,
        "pages": {label: f"{each.folder}/{path}" for label, path in each.pages.items()},
        "figures": [(f.figure.label, f.shown(), f.least_shown(), f.is_met) for f in found],
        "picture": data_uri("png", picture.read_bytes()) if picture is not None and picture.is_file() else None,
        "seconds": seconds,
    }


def number_at(path: Path, where: Sequence[Step]) -> float | None:
    """The number of a report that `where` leads to, None where it leads to none; InputError for an unreadable file."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read ({error}); run its demonstration again") from error
    for step in where:
        value = next(_followed(value, step), None)
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def _followed(value: Any, step: Step) -> Iterator[Any]:
    """What lies one step further, if anything."""
    if isinstance(step, Mapping):
        entries = value if isinstance(value, list) else []
        yield from (entry for entry in entries if isinstance(entry, Mapping) and step.items() <= entry.items())
    elif (isinstance(value, Mapping) and step in value) or (
        isinstance(value, list) and isinstance(step, int) and -len(value) <= step < len(value)
    ):
        yield value[step]
