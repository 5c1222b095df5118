"""Error rates over all thresholds, the curves of all models in one chart: ROC and DET."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import NormalDist
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from recognition.chart import line_style, percent_axis, svg
from recognition.report.figures import ERROR_RATES, operating_points, rate_text

BAND = 0.15  # opacity
DET_TICKS = (1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 0.01, 0.05, 0.2, 0.5, 0.8, 0.95, 0.99)


def roc_svg(names: Sequence[str], outcomes: Sequence[dict[str, Any]]) -> str | None:
    """True accept rate over the false accept rate (log axis), with the operating points of the table marked.

    Of one model the band between their intervals is shown, too.
    """
    curves = [(index, *curve) for index, outcome in enumerate(outcomes) if (curve := _curve(outcome))]
    if not curves:
        return None

    def draw(axes: Axes) -> None:
        # A logarithm cannot show a rate of 0: it stands at the left edge, below the lowest rate that occurs.
        lowest = min(far[far > 0].min(initial=1) for _, far, _ in curves) / 2
        for index, far, tar in curves:
            axes.step(np.maximum(far, lowest), tar, where="post", lw=1.8, label=names[index], **line_style(index))
            points = [p for p in operating_points(outcomes[index], ERROR_RATES) if p["share"] is not None]
            colour = line_style(index)["color"]
            axes.plot([p["rate"] for p in points], [p["share"] for p in points], "o", color=colour, ms=4)
            if len(outcomes) == 1:
                _band(axes, points, colour)
                for p in points:
                    text = f"{p['share'] * 100:.1f} %"
                    axes.annotate(text, (p["rate"], p["share"]), (5, -13), textcoords="offset points", fontsize=9)
        rate_axis(axes)
        axes.set_xlim(lowest, 1.1)
        axes.set_ylim(max(0, np.floor(10 * min(tar.min() for *_, tar in curves) - 1) / 10), 1.02)
        percent_axis(axes.yaxis)
        axes.set_xlabel("false accept rate")
        axes.set_ylabel("true accept rate")
        if len(outcomes) > 1:
            axes.legend(loc="lower right", fontsize=9)

    return svg(draw)


def det_svg(names: Sequence[str], outcomes: Sequence[dict[str, Any]]) -> str | None:
    """False reject over false accept rate, both on the axes of a normal deviate (Martin et al. 1997)."""
    curves = [(index, *curve) for index, outcome in enumerate(outcomes) if (curve := _det(outcome))]
    if not curves:
        return None

    def draw(axes: Axes) -> None:
        for index, x, y in curves:
            axes.plot(x, y, lw=1.8, label=names[index], **line_style(index))
        x, y = (np.concatenate([curve[place] for curve in curves]) for place in (1, 2))
        low = max(min(x.min(), y.min()) - 0.1, deviate(np.array([DET_TICKS[0]]))[0])
        high = max(x.max(), y.max(), 0) + 0.1
        axes.plot([low, high], [low, high], color="#8794a3", lw=0.8)
        for axis, limit, ends in ((axes.xaxis, axes.set_xlim, x), (axes.yaxis, axes.set_ylim, y)):
            limit(max(ends.min() - 0.1, low), max(ends.max(), 0) + 0.1)
            ticks = dict(zip(deviate(np.array(DET_TICKS)), DET_TICKS))
            axis.set_major_locator(FixedLocator(list(ticks)))
            axis.set_minor_locator(NullLocator())
            axis.set_major_formatter(FuncFormatter(lambda value, _, ticks=ticks: rate_text(ticks[value], short=True)))
        axes.set_xlabel("false accept rate")
        axes.set_ylabel("false reject rate")
        if len(outcomes) > 1:
            axes.legend(loc="upper right", fontsize=9)

    return svg(draw)


def rate_axis(axes: Axes) -> None:
    """Error rates to the right on a logarithmic axis, written as the tables write them."""
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda rate, _: rate_text(rate, short=True)))
    axes.xaxis.set_minor_locator(NullLocator())


def deviate(rates: np.ndarray) -> np.ndarray:
    """Standard normal deviates of rates within (0, 1)."""
    inverse = NormalDist().inv_cdf
    return np.array([inverse(rate) for rate in rates.tolist()])


def best_of_each(rates: Sequence[float], shares: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """Each of the ascending error rates once, with the best share that it allows."""
    rates_P = np.array(rates, float)
    last = np.flatnonzero(np.diff(rates_P, append=2) > 0)
    return rates_P[last], np.array(shares, float)[last]


def _curve(outcome: dict[str, Any]) -> tuple[np.ndarray, np.ndarray] | None:
    """False and true accept rates, ascending."""
    roc = outcome.get("roc")
    if not roc or not roc["far"]:
        return None
    return best_of_each(roc["far"], roc["tar"])


def _det(outcome: dict[str, Any]) -> tuple[np.ndarray, np.ndarray] | None:
    """Deviates of false accept and false reject rate where both are within (0, 1)."""
    curve = _curve(outcome)
    if curve is None:
        return None
    far, frr = curve[0], 1 - curve[1]
    inside = (far > 0) & (far < 1) & (frr > 0) & (frr < 1)
    return (deviate(far[inside]), deviate(frr[inside])) if inside.sum() > 1 else None


def _band(axes: Axes, points: list[dict[str, Any]], colour: str) -> None:
    known = [p for p in points if p["low"] is not None and p["high"] is not None]
    rates = [p["rate"] for p in known]
    axes.fill_between(rates, [p["low"] for p in known], [p["high"] for p in known], color=colour, alpha=BAND, lw=0)
