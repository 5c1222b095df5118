"""Pairs of pictures, the same person or not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from recognition.report.charts.curves import det_svg, roc_svg
from recognition.report.charts.groups import groups_svg
from recognition.report.charts.scores import histogram_svg
from recognition.report.figures import ERROR_RATES, figure_rows, fixed, percent, point_rows
from recognition.report.kinds.section import (
    Chart,
    Details,
    Entry,
    Gallery,
    Picture,
    Section,
    Table,
    chart,
    pictures_of,
    worst_shown,
)
from recognition.report.kinds.sentences import chance, counts, founded, reach
from recognition.report.kinds.shared_tables import comparison_tables, failure_table, group_tables, points_table

COST = "Where at most {rate} of impostor pairs (1 in {odds:,}) are let in,"
RESAMPLED = {
    "pairs": "Intervals take the pairs for independent: where few people stand in many pairs, they are too narrow.",
    "people": "Intervals take the people for independent, not their pairs: they are those for other people, too.",
}
MISTAKES = (("false_accepts", "Different people taken for one"), ("false_rejects", "One person taken for two"))


def section(target: dict[str, Any], names: Sequence[str], picture: Picture) -> Section:
    """Accuracy of the 10 folds, error rates, the pairs that were judged wrongly."""
    outcomes, comparisons = target["outcomes"], target["comparisons"]
    first = outcomes[0]
    accuracy = figure_rows(outcomes, [("accuracy", "Accuracy", percent)])
    rows = [
        *accuracy,
        *figure_rows(outcomes, [("accuracy_std", "Standard deviation over the folds", percent)]),
        *common_rows(outcomes),
        *figure_rows(outcomes, [("threshold", "Threshold (squared distance)", two), ("xnorm", "XNorm", two)]),
    ]
    return Section(
        sentences=[
            *counts(first, (("genuine", "pairs of one person (genuine)"), ("impostor", "of two people (impostor)"))),
            *reach(first.get("impostor"), "impostor pairs", "false accept rate"),
            *_unit(first),
            *founded(names, outcomes, ERROR_RATES, cost=COST, verb="accept", what="same-person pairs"),
            *chance(comparisons),
        ],
        headline=[*accuracy, *point_rows(outcomes, ERROR_RATES, only=[1e-3])],
        rows=rows,
        charts=[*curve_charts(names, outcomes), *_group_chart(names, outcomes)],
        tables=comparison_tables(names, comparisons, ["accuracy"]),
        details=[_details(name, outcome, picture, worst_shown(len(names))) for name, outcome in zip(names, outcomes)],
    )


def _unit(outcome: dict[str, Any]) -> list[str]:
    """What the intervals take for independent, and what follows from that."""
    unit = (outcome.get("resampling") or {}).get("unit")
    return [RESAMPLED[unit]] if unit in RESAMPLED else []


def two(value: float | None) -> str:
    """Two decimals."""
    return fixed(value, 2)


def four(value: float | None) -> str:
    """Four decimals."""
    return fixed(value, 4)


def common_rows(outcomes: Sequence[dict[str, Any]]) -> list:
    """AUC, EER and TAR at each FAR."""
    return [
        *figure_rows(outcomes, [("auc", "AUC", four), ("eer", "EER", percent)]),
        *point_rows(outcomes, ERROR_RATES),
    ]


def curve_charts(names: Sequence[str], outcomes: Sequence[dict[str, Any]]) -> list[Chart]:
    """ROC, DET and histograms of all models."""
    band = "; the band is the 95 % interval between the marked points" if len(names) == 1 else ""
    return [
        *chart(
            roc_svg(names, outcomes),
            "ROC curve: true accept rate over false accept rate on a logarithmic axis",
            "ROC: share of same-person pairs accepted (up) when the given share of different pairs is let in by "
            f"mistake (right){band}. Higher is better.",
        ),
        *chart(
            det_svg(names, outcomes),
            "DET curve: false reject rate over false accept rate on normal-deviate axes",
            "DET: the two errors against each other, stretched so that small rates can be told apart. Lower is "
            "better; the grey line is where both are equal.",
        ),
        *chart(
            histogram_svg(names, outcomes),
            "Histogram of the similarity of genuine and impostor pairs",
            "Similarity of the two of a pair. The less the two hills overlap, the better.",
        ),
    ]


def _group_chart(names: Sequence[str], outcomes: Sequence[dict[str, Any]]) -> list[Chart]:
    caption = "Accuracy of each group at the threshold of the whole set; lines are 95 % intervals."
    return chart(groups_svg(names, outcomes), "Accuracy of each group of people with its interval", caption)


def _details(name: str, outcome: dict[str, Any], picture: Picture, most: int) -> Details:
    return Details(
        name,
        [*points_table(outcome, ERROR_RATES), *group_tables(outcome), *failure_table(outcome), *_folds(outcome)],
        [gallery for key, title in MISTAKES for gallery in _mistakes(outcome, key, title, picture, most)],
    )


def _folds(outcome: dict[str, Any]) -> list[Table]:
    if not outcome.get("fold_accuracies"):
        return []
    rows = tuple(
        (str(fold), percent(accuracy), two(threshold))
        for fold, (accuracy, threshold) in enumerate(zip(outcome["fold_accuracies"], outcome["fold_thresholds"]), 1)
    )
    return [Table("Folds", ("Fold", "accuracy", "threshold (squared distance)"), rows, folded=True)]


def _mistakes(outcome: dict[str, Any], key: str, title: str, picture: Picture, most: int) -> list[Gallery]:
    pairs = (outcome.get(key) or [])[:most]
    if not pairs:
        return []
    total = outcome.get(f"num_{key}")
    of = "" if total is None else f" of {total:,}"
    threshold = outcome.get("threshold")
    at = (
        ""
        if threshold is None
        else f" at the threshold (squared distance {two(threshold)}, cosine {1 - threshold / 2:.3f})"
    )
    return [Gallery(title, f"The worst {len(pairs)}{of}{at}.", tuple(_entry(pair, picture) for pair in pairs))]


def _entry(pair: dict[str, Any], picture: Picture) -> Entry:
    number = pair["pair"]
    pictures = [
        (2 * number + side, f"{which} picture of pair {number}") for side, which in enumerate(("first", "second"))
    ]
    facts = {"pair": str(number), "distance": fixed(pair["distance"], 3), "cosine": fixed(pair["cosine"], 3)}
    names = {side: pair[side] for side in ("first", "second") if pair.get(side)}
    return Entry(pictures_of(picture, pictures), facts | names)
