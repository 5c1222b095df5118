"""Templates of several pictures each: IJB-B and IJB-C, one against one and one against many."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from recognition.report.figures import ERROR_RATES, Row, figure, figure_rows, point_rows, rate_text
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
        rows=[*common_rows(outcomes), *_as_published(outcomes), *figure_rows(outcomes, [("xnorm", "XNorm", two)])],
        charts=curve_charts(names, outcomes),
        tables=comparison_tables(names, comparisons, ["tar@0.0001", "tar@0.001"]),
        details=[
            Details(name, [*points_table(outcome, ERROR_RATES), *failure_table(outcome)])
            for name, outcome in zip(names, outcomes)
        ],
        more=more,
    )


def _as_published(outcomes: Sequence[dict[str, Any]]) -> list[Row]:
    """TAR at the point of the ROC nearest to each FAR, on whichever side of it: how published figures are read off."""
    known = sorted({rate for o in outcomes for rate in o.get("tar_at_nearest_far") or {}}, key=float, reverse=True)
    return [
        Row(
            f"As published, nearest to FAR {rate_text(float(rate), short=True)}",
            tuple(figure((outcome.get("tar_at_nearest_far") or {}).get(rate)) for outcome in outcomes),
        )
        for rate in known
    ]
