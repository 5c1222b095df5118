"""A chart as SVG text, in the one look of all pages; plain figures, no global plotting state."""

from __future__ import annotations

import io
from collections.abc import Callable

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

GENUINE, IMPOSTOR, INK, FAINT = "#14746f", "#c2543d", "#26323f", "#8794a3"
SIZE_INCHES = (5.0, 3.4)  # shown at 360 px on a phone, a 10 pt letter is still 10 px high
STYLE = {
    "font.size": 10,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e6e9ed",
    "legend.frameon": False,
    "svg.fonttype": "path",  # a viewer without the font sees the same chart
    "svg.hashsalt": "arcscale",  # the same numbers give the same file
    "font.family": ["DejaVu Sans"],  # comes with matplotlib
}


def svg(draw: Callable[[Axes], None]) -> str:
    """The chart that `draw` makes of empty axes, as SVG text."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=SIZE_INCHES, layout="constrained")
        draw(figure.add_subplot())
        text = io.StringIO()
        figure.savefig(text, format="svg", metadata={"Date": None})
    return text.getvalue()
