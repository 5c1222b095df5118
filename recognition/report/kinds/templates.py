"""Templates of several pictures each: IJB-B and IJB-C, one against one and one against many."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from recognition.report.figures import ERROR_RATES, figure_rows, point_rows
from recognition.report.kinds import identification
from recognition.report.kinds.pairs import common_rows, curve_charts, two
from recognition.report.kinds.section import Details, Picture, Section
from recognition.report.kinds.sentences import chance, counts, founded, reach
from recognition.report.kinds.shared_tables import comparison_tables, failure_table, points_table

COUNTS = (
    ("images", "pictures"),
    ("templates", "templates"),
    ("subjects", "people"),
    ("genuine", "genuine pairs"),
    ("impostor", "impostor pairs"),
)
COST = "Where at most {rate} of impostor pairs (1 in {odds:,}) are let in,"


def section(target: dict[str, Any], names: Sequence[str], picture: Picture) -> Section:
    """TAR at FAR of pairs of templates; identification of their 1:N part when it was measured."""
    outcomes, comparisons = target["outcomes"], target["comparisons"]
    first = outcomes[0]
    searched = [outcome.get("identification") for outcome in outcomes]
    more, found = None, []
    if all(searched):
        one_to_many = identification.section({"outcomes": searched, "comparisons": []}, names, picture)
        more, found = ("Searching a gallery (1:N)", one_to_many), one_to_many.headline
    return Section(
        sentences=[
            *counts(first, COUNTS),
            *reach(first.get("impostor"), "impostor pairs", "false accept rate"),
            *founded(names, outcomes, ERROR_RATES, cost=COST, verb="accept", what="genuine pairs of templates"),
            *chance(comparisons),
        ],
        headline=[*point_rows(outcomes, ERROR_RATES, only=[1e-4, 1e-5]), *found],
        rows=[*common_rows(outcomes), *figure_rows(outcomes, [("xnorm", "XNorm", two)])],
        charts=curve_charts(names, outcomes),
        tables=comparison_tables(names, comparisons),
        details=[
            Details(name, [*points_table(outcome, ERROR_RATES), *failure_table(outcome)])
            for name, outcome in zip(names, outcomes)
        ],
        more=more,
    )
