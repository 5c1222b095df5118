"""Everyone in a set against everyone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from recognition.report.figures import ERROR_RATES, figure_rows, fixed, point_rows
from recognition.report.kinds.pairs import common_rows, curve_charts, two
from recognition.report.kinds.section import Details, Entry, Gallery, Picture, Section, pictures_of, worst_shown
from recognition.report.kinds.sentences import chance, counts, founded, reach
from recognition.report.kinds.shared_tables import comparison_tables, points_table

COUNTS = (
    ("images", "pictures"),
    ("identities", "people"),
    ("genuine", "genuine pairs"),
    ("impostor", "impostor pairs"),
)
COST = "At a threshold that lets in 1 in {odds:,} impostor pairs,"
DEPENDENT = (
    "Pairs that share a picture or a person are not independent: the figures are less certain than so many "
    "separate pairs would make them."
)


def section(target: dict[str, Any], names: Sequence[str], picture: Picture) -> Section:
    """TAR at FAR down to what all pairs can tell, and the pairs that were judged worst."""
    outcomes, comparisons = target["outcomes"], target["comparisons"]
    first = outcomes[0]
    return Section(
        sentences=[
            *counts(first, COUNTS),
            *reach(first.get("impostor"), "impostor pairs", "false accept rate"),
            *founded(names, outcomes, ERROR_RATES, cost=COST, verb="accept", what="same-person pairs"),
            DEPENDENT,
            *chance(comparisons),
        ],
        headline=point_rows(outcomes, ERROR_RATES, only=[1e-6]),
        rows=[*common_rows(outcomes), *figure_rows(outcomes, [("xnorm", "XNorm", two)])],
        charts=curve_charts(names, outcomes),
        tables=comparison_tables(names, comparisons, ["tar@1e-06", "tar@1e-05", "tar@0.0001"]),
        details=[_details(name, outcome, picture, worst_shown(len(names))) for name, outcome in zip(names, outcomes)],
    )


def _details(name: str, outcome: dict[str, Any], picture: Picture, most: int) -> Details:
    galleries = []
    for same, title, order in (
        (
            False,
            "Different people who look most alike",
            "The most alike first; with labels that are wrong, they stand here.",
        ),
        (
            True,
            "Pictures of one person that look least alike",
            "The least alike first; with labels that are wrong, they stand here.",
        ),
    ):
        pairs = [one for one in outcome.get("worst") or () if bool(one.get("same")) == same][:most]
        if pairs:
            galleries.append(Gallery(title, order, tuple(_entry(one, picture) for one in pairs)))
    return Details(name, points_table(outcome, ERROR_RATES), galleries)


def _entry(one: dict[str, Any], picture: Picture) -> Entry:
    facts = {"cosine": fixed(one.get("similarity"), 3)}
    facts |= {side: str(one.get(f"{side}_name") or f"picture {one[side]:,}") for side in ("first", "second")}
    return Entry(
        pictures_of(picture, [(one[side], f"{side} picture, {facts[side]}") for side in ("first", "second")]), facts
    )
