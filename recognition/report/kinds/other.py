"""A kind of target without a page of its own: everything that was measured, as plain tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from recognition.page import shown
from recognition.report.figures import Cell, Row
from recognition.report.kinds.section import Picture, Section
from recognition.report.kinds.shared_tables import comparison_tables

SHOWN_APART = ("warnings", "diagnosis")
MOST_VALUES = 10


def section(target: dict[str, Any], names: Sequence[str], picture: Picture) -> Section:
    """A row for each fact of any model; long lists by their length."""
    flat = [dict(_flat(outcome)) for outcome in target["outcomes"]]
    keys = dict.fromkeys(key for one in flat for key in one)
    rows = [Row(key, tuple(Cell(one[key]) if key in one else Cell() for one in flat)) for key in keys]
    return Section(
        sentences=[
            f"Targets of the kind {target['kind']} have no page of their own; this is everything that was measured."
        ],
        rows=rows,
        tables=comparison_tables(names, target["comparisons"]),
    )


def _flat(facts: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, str]]:
    for key, value in facts.items():
        label = before + key.replace("_", " ")
        if not before and key in SHOWN_APART:
            continue
        if isinstance(value, Mapping):
            yield from _flat(value, f"{label}, ")
        elif isinstance(value, list):
            plain = len(value) <= MOST_VALUES and not any(isinstance(entry, (list, Mapping)) for entry in value)
            yield label, ", ".join(map(shown, value)) if plain else f"{len(value):,} entries"
        else:
            yield label, shown(value)
