"""The charts of a record set as SVG text."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter

from recognition.chart import GENUINE, svg


def class_sizes_svg(histogram: Sequence[tuple[int, int, int]]) -> str:
    """Bars of (fewest, most, classes): how many classes have so many images; both axes grow by factors."""
    named = [f"{fewest}" if fewest == most else f"{fewest}–{most}" for fewest, most, _ in histogram]
    counts = [classes for *_, classes in histogram]

    def draw(axes: Axes) -> None:
        bars = axes.bar(named, counts, color=GENUINE, width=0.85)
        axes.bar_label(bars, [f"{count:,}" for count in counts], fontsize=8, padding=2)
        axes.set_yscale("log")
        axes.set_ylim(0.7, 2.5 * max(counts))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
        axes.grid(axis="x", visible=False)
        axes.tick_params(axis="x", labelrotation=35 if len(named) > 5 else 0)
        axes.set_xlabel("images of the class")
        axes.set_ylabel("classes")

    return svg(draw)


def file_sizes_svg(image_bytes: np.ndarray) -> str:
    """How large the image files are, the largest 0.5 % together in the last bar."""
    last = max(float(np.quantile(image_bytes, 0.995)), 1.0)
    counts, edges = np.histogram(np.minimum(image_bytes, last) / 1e3, 40, (0, last / 1e3))

    def draw(axes: Axes) -> None:
        axes.stairs(counts, edges, fill=True, color=GENUINE)
        axes.set_xlabel("kB of the image file")
        axes.set_ylabel("images")
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))

    return svg(draw)
