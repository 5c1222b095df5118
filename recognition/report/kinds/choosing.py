"""Kind of target -> what the pages show of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from recognition.report.kinds import all_to_all, identification, other, pairs, templates
from recognition.report.kinds.section import Picture, Section

KINDS: dict[str, Callable[[dict[str, Any], Sequence[str], Picture], Section]] = {
    "pairs": pairs.section,
    "templates": templates.section,
    "identification": identification.section,
    "all_to_all": all_to_all.section,
}


def section_of(target: dict[str, Any], names: Sequence[str], picture: Picture) -> Section:
    """What is shown of a target of report.json; plain tables for a kind that has no page of its own."""
    return KINDS.get(target["kind"], other.section)(target, names, picture)
