"""A gallery of known people, and probes to be named: closed set, open set, TinyFace."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from recognition.report.charts.searches import cmc_svg, open_set_svg
from recognition.report.figures import SEARCH_RATES, Cell, Row, figure, figure_rows, fixed, percent, point_rows
from recognition.report.kinds.pairs import two
from recognition.report.kinds.section import Details, Entry, Gallery, Picture, Section, chart, pictures_of, worst_shown
from recognition.report.kinds.sentences import chance, counts, founded, reach
from recognition.report.kinds.shared_tables import comparison_tables, failure_table, points_table

COUNTS = (
    ("gallery_subjects", "people in the gallery"),
    ("gallery_images", "pictures of them"),
    ("distractors", "distractors"),
    ("mated_probes", "probes of enrolled people"),
    ("nonmated_probes", "probes of strangers"),
)
COST = "At FPIR {rate}, where 1 in {odds:,} strangers is taken for someone in the gallery,"
MISTAKES = (("misses", "Enrolled people who were not found"), ("false_alarms", "Strangers taken for someone"))


def section(target: dict[str, Any], names: Sequence[str], picture: Picture) -> Section:
    """Rank-k and CMC, DIR at FPIR, the probes that were named wrongly."""
    outcomes, comparisons = target["outcomes"], target["comparisons"]
    first = outcomes[0]
    ranks = _rank_rows(outcomes)
    return Section(
        sentences=[*counts(first, COUNTS), *_open_sentences(names, outcomes), *chance(comparisons)],
        headline=[*ranks[:1], *point_rows(outcomes, SEARCH_RATES, only=[0.01])],
        rows=[
            *ranks,
            *figure_rows(outcomes, [("mean_average_precision", "Mean average precision", percent)]),
            *point_rows(outcomes, SEARCH_RATES),
            *figure_rows(outcomes, [("xnorm", "XNorm", two)]),
        ],
        charts=_charts(names, outcomes),
        tables=comparison_tables(names, comparisons, ["rank-1", "dir@0.01"]),
        details=[_details(name, outcome, picture, worst_shown(len(names))) for name, outcome in zip(names, outcomes)],
    )


def _open_sentences(names: Sequence[str], outcomes: Sequence[dict[str, Any]]) -> list[str]:
    strangers = outcomes[0].get("nonmated_probes")
    if not strangers:
        return [
            "Every probe is of an enrolled person (closed set): how often a stranger is taken for one is not measured."
        ]
    return [
        *reach(strangers, "probes of strangers", "false positive identification rate"),
        *founded(names, outcomes, SEARCH_RATES, cost=COST, verb="recognise", what="the enrolled people"),
    ]


def _rank_rows(outcomes: Sequence[dict[str, Any]]) -> list[Row]:
    known = sorted({rank for outcome in outcomes for rank in outcome.get("ranks") or {}}, key=int)
    return [
        Row(
            f"Found at rank {rank}" if rank == "1" else f"Found within rank {rank}",
            tuple(_rank(o, rank) for o in outcomes),
        )
        for rank in known
    ]


def _rank(outcome: dict[str, Any], rank: str) -> Cell:
    return figure((outcome.get("ranks") or {}).get(rank), (outcome.get("rank_intervals") or {}).get(rank))


def _charts(names: Sequence[str], outcomes: Sequence[dict[str, Any]]) -> list:
    return [
        *chart(
            cmc_svg(names, outcomes),
            "CMC curve: share of probes found within each rank",
            "CMC: share of the enrolled people's probes whose person is among the first so many of the gallery.",
        ),
        *chart(
            open_set_svg(names, outcomes),
            "DIR over FPIR on a logarithmic axis",
            "Enrolled people found and rightly named (up) when the given share of strangers is taken for someone "
            "(right).",
        ),
    ]


def _details(name: str, outcome: dict[str, Any], picture: Picture, most: int) -> Details:
    tables = [*points_table(outcome, SEARCH_RATES), *failure_table(outcome)]
    galleries = [g for key, title in MISTAKES for g in _gallery(outcome, key, title, picture, most)]
    return Details(name, tables, galleries)


def _gallery(outcome: dict[str, Any], key: str, title: str, picture: Picture, most: int) -> list[Gallery]:
    entries = tuple(_entry(one, picture) for one in (outcome.get(key) or [])[:most])
    if not entries:
        return []
    caption = "The probe, whom it was taken for and, where there is one, who it is in the gallery; the worst first."
    return [Gallery(title, caption, entries)]


def _entry(one: dict[str, Any], picture: Picture) -> Entry:
    wanted = (("picture", "probe"), ("found_picture", "taken for"), ("truth_picture", "really"))
    facts = {"probe": one.get("probe"), "taken for": one.get("found"), "really": one.get("truth")}
    facts |= {
        "rank": one.get("rank"),
        "similarity": fixed(one.get("similarity"), 3) if one.get("similarity") is not None else None,
    }
    pictures = pictures_of(picture, [(one.get(key), what) for key, what in wanted])
    return Entry(
        pictures,
        {
            label: f"{value:,}" if isinstance(value, int) else str(value)
            for label, value in facts.items()
            if value is not None
        },
    )
