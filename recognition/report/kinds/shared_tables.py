"""Tables that several kinds of targets have: operating points, groups, differences between models, failures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from recognition.page import shown
from recognition.report.figures import (
    DASH,
    ERROR_RATES,
    Rates,
    figure,
    fixed,
    operating_points,
    point_cell,
    rate_text,
)
from recognition.report.kinds.section import Table

VISIBLE_COMPARISONS = 6
DIFFERENCES = {"auc": "AUC", "eer": "EER", "rank-1": "found at rank 1"}


def points_table(outcome: dict[str, Any], rates: Rates) -> list[Table]:
    """Every operating point of a model with the threshold that reaches it."""
    points = operating_points(outcome, rates)
    if not any(point["threshold"] is not None for point in points):
        return []
    distances = rates is ERROR_RATES
    header = (
        rates.label.split()[-1],
        rates.label.split()[0],
        *(("squared distance",) if distances else ()),
        "cosine",
        "false accepts allowed",
    )
    rows = []
    for point in points:
        threshold = point["threshold"]
        cosine = None if threshold is None else 1 - threshold / 2 if distances else threshold
        thresholds = (fixed(threshold, 4), fixed(cosine, 4)) if distances else (fixed(cosine, 4),)
        rows.append((rate_text(point["rate"]), point_cell(point).line, *thresholds, shown(point["allowed"])))
    at = "Accepted is what lies strictly above the cosine"
    caption = f"{at}, which is strictly below the distance." if distances else f"{at}."
    return [Table("Thresholds to deploy", header, tuple(rows), caption, folded=True)]


def comparison_tables(
    names: Sequence[str], comparisons: Sequence[dict[str, Any]], main: Sequence[str] = ()
) -> list[Table]:
    """Each two models and what differs between them, first in the figure that matters most, then in the others.

    That is the first of `main` which was compared. The others are folded, and so are many.
    """
    if not comparisons:
        return []
    metrics = {comparison["metric"] for comparison in comparisons}
    chosen = next((metric for metric in main if metric in metrics), comparisons[0]["metric"])
    header = ("Models", "Figure", "Difference", "95 % interval", "p", "Test", "Verdict")
    caption = (
        "Difference: the first minus the second, on the same pictures, in percentage points for rates. p: how "
        "often chance alone makes one as large, corrected for the number of comparisons where that is given."
    )
    first = [c for c in comparisons if c["metric"] == chosen]
    others = [c for c in comparisons if c["metric"] != chosen]
    tables = [
        Table(
            "Differences between the models",
            header,
            _comparison_rows(names, first),
            caption,
            folded=len(first) > VISIBLE_COMPARISONS,
        )
    ]
    if others:
        tables.append(Table("Differences in other figures", header, _comparison_rows(names, others), folded=True))
    return tables


def group_tables(outcome: dict[str, Any]) -> list[Table]:
    """Figures of each group of a model at the thresholds of all, and how far the groups are apart."""
    groups = outcome.get("groups") or []
    if not groups:
        return []
    rates = sorted({rate for group in groups for rate in group.get("rates") or {}}, key=float, reverse=True)
    header = ("Group", "pairs", "genuine", "impostor", "accuracy")
    header += tuple(f"{kind} at FAR {rate_text(float(rate), short=True)}" for rate in rates for kind in ("FMR", "FNMR"))
    rows = []
    for group in groups:
        cells = [figure(group.get("accuracy"), (group.get("accuracy_low"), group.get("accuracy_high")))]
        for rate in rates:
            at = (group.get("rates") or {}).get(rate) or {}
            cells += [figure(at.get(kind), (at.get(f"{kind}_low"), at.get(f"{kind}_high"))) for kind in ("fmr", "fnmr")]
        counts = (shown(group.get(key)) for key in ("pairs", "genuine", "impostor"))
        rows.append((group["group"], *counts, *(cell.line for cell in cells)))
    caption = (
        "One threshold for all, that of the whole set. FMR: share of the group's impostor pairs accepted; FNMR: "
        "share of its genuine pairs missed."
    )
    return [Table("Groups", header, tuple(rows), caption), *_disparity(outcome)]


def failure_table(outcome: dict[str, Any]) -> list[Table]:
    """What could not be used, the first of them by name."""
    failures = outcome.get("failures") or {}
    if not failures.get("count"):
        return []
    first = failures.get("first") or []
    rows = tuple((one,) if isinstance(one, str) else (", ".join(map(shown, _values(one))),) for one in first)
    title = f"{failures['count']:,} could not be used"
    return [Table(title, ("the first of them",), rows)]


def _values(entry: Any) -> list[Any]:
    return list(entry.values()) if isinstance(entry, dict) else entry if isinstance(entry, list) else [entry]


def _disparity(outcome: dict[str, Any]) -> list[Table]:
    disparity = {rate: entry for rate, entry in (outcome.get("disparity") or {}).items() if entry}
    if not disparity:
        return []
    keys = (
        ("max_min_fmr", "worst FMR over best"),
        ("max_mean_fmr", "worst FMR over geometric mean"),
        ("max_min_fnmr", "worst FNMR over best"),
    )
    rows = tuple(
        (rate_text(float(rate), short=True), *(_times(disparity[rate].get(key)) for key, _ in keys))
        for rate in sorted(disparity, key=float, reverse=True)
    )
    return [
        Table(
            "How far the groups are apart",
            ("At FAR", *(label for _, label in keys)),
            rows,
            "1 means that all groups are treated alike.",
        )
    ]


def _times(value: float | None) -> str:
    return DASH if value is None else f"{value:.2f} times"


def _comparison_rows(names: Sequence[str], comparisons: Sequence[dict[str, Any]]) -> tuple[tuple[str, ...], ...]:
    return tuple(
        (
            f"{names[c['first']]} − {names[c['second']]}",
            metric_name(c["metric"]),
            _signed(c.get("difference"), c["metric"]),
            DASH
            if c.get("low") is None or c.get("high") is None
            else f"{_signed(c['low'], c['metric'])} to {_signed(c['high'], c['metric'])}",
            _p_text(c),
            c.get("method") or DASH,
            c.get("verdict") or DASH,
        )
        for c in comparisons
    )


def metric_name(metric: str) -> str:
    """`tar@0.001` as people read it."""
    name, at, rate = metric.partition("@")
    if not at:
        return DIFFERENCES.get(name, name)
    of = {"tar": "TAR at FAR", "dir": "DIR at FPIR"}.get(name, f"{name} at")
    try:
        return f"{of} {rate_text(float(rate), short=True)}"
    except ValueError:
        return metric


def _signed(value: float | None, metric: str) -> str:
    if value is None:
        return DASH
    return f"{value:+.4f}" if metric == "auc" else f"{value * 100:+.2f}"


def _p_text(comparison: dict[str, Any]) -> str:
    def text(p: float) -> str:
        return "< 0.0001" if p < 1e-4 else f"{p:.4f}"

    p, adjusted = comparison.get("p_value"), comparison.get("p_adjusted")
    if adjusted is None:
        return DASH if p is None else text(p)
    return text(adjusted) if p is None or adjusted == p else f"{text(adjusted)} ({text(p)} by itself)"
