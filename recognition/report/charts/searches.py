"""Searching a gallery, the curves of all models in one chart: who is found by rank, and who at which price."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from recognition.chart import line_style, percent_axis, svg
from recognition.report.charts.curves import BAND, best_of_each, rate_axis
from recognition.report.figures import SEARCH_RATES, operating_points


def cmc_svg(names: Sequence[str], outcomes: Sequence[dict[str, Any]]) -> str | None:
    """Share of the mated probes whose subject is among the first so many of the gallery."""
    if not any(outcome.get("cmc") for outcome in outcomes):
        return None

    def draw(axes: Axes) -> None:
        for index, outcome in enumerate(outcomes):
            cmc = outcome.get("cmc") or []
            marker = "o" if len(cmc) == 1 else None
            axes.plot(range(1, len(cmc) + 1), cmc, lw=1.8, marker=marker, label=names[index], **line_style(index))
        lowest = min(min(outcome["cmc"]) for outcome in outcomes if outcome.get("cmc"))
        axes.set_ylim(max(0, np.floor(20 * lowest - 0.5) / 20), 1.01)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        percent_axis(axes.yaxis)
        axes.set_xlabel("rank")
        axes.set_ylabel("share found")
        if len(outcomes) > 1:
            axes.legend(loc="lower right", fontsize=9)

    return svg(draw)


def open_set_svg(names: Sequence[str], outcomes: Sequence[dict[str, Any]]) -> str | None:
    """Detection and identification rate over the false positive identification rate (log axis)."""
    curves = [(index, outcome["curve"]) for index, outcome in enumerate(outcomes) if _has_curve(outcome)]
    if not curves:
        return None

    def draw(axes: Axes) -> None:
        # A logarithm cannot show a rate of 0: it stands at the left edge, below the lowest rate that occurs.
        lowest = min((rate for _, curve in curves for rate in curve["fpir"] if rate), default=1) / 2
        for index, curve in curves:
            fpir, dir_ = best_of_each(curve["fpir"], curve["dir"])
            axes.step(np.maximum(fpir, lowest), dir_, where="post", lw=1.8, label=names[index], **line_style(index))
            points = [p for p in operating_points(outcomes[index], SEARCH_RATES) if p["share"] is not None]
            colour = line_style(index)["color"]
            axes.plot([p["rate"] for p in points], [p["share"] for p in points], "o", color=colour, ms=4)
            known = [p for p in points if p["low"] is not None and p["high"] is not None]
            if len(outcomes) == 1 and known:
                low, high = [p["low"] for p in known], [p["high"] for p in known]
                axes.fill_between([p["rate"] for p in known], low, high, color=colour, alpha=BAND, lw=0)
        rate_axis(axes)
        axes.set_xlim(lowest, 1.1)
        axes.set_ylim(0, 1.02)
        percent_axis(axes.yaxis)
        axes.set_xlabel("false positive identification rate")
        axes.set_ylabel("found and rightly named")
        if len(outcomes) > 1:
            axes.legend(loc="lower right", fontsize=9)

    return svg(draw)


def _has_curve(outcome: dict[str, Any]) -> bool:
    return bool((outcome.get("curve") or {}).get("fpir"))
