"""A chart as SVG text, in the one look of all pages; plain figures, no global plotting state."""

from __future__ import annotations

import io
import re
from collections.abc import Callable

import matplotlib
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

GENUINE, IMPOSTOR, INK, FAINT = "#14746f", "#c2543d", "#26323f", "#8794a3"
# One for each of several things that are compared; told apart by the colour-blind, too, and readable as text on white.
COLOURS = ("#0079c2", "#b23463", "#8e6d0b", "#000d33", "#7300e6", "#331300")
DASHES = ("-", (0, (5, 1.5)), (0, (1.5, 1.2)), (0, (6, 1.5, 1.5, 1.5)))
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

PATH = re.compile(r' d="[^"]+"')
COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
BLANKS = re.compile(r"\s*\n\s*")
LONG_NUMBER = re.compile(r"-?\d+\.\d{3,}")


def percent_axis(axis: Axis) -> None:
    """Shares on an axis in percent, with as many decimals as a tick has."""
    axis.set_major_formatter(FuncFormatter(lambda share, _: f"{share * 100:.6g} %"))


def line_style(index: int) -> dict[str, object]:
    """Colour and dashes of the thing number `index`; 24 differ, and no two of the first six by their colour alone."""
    return {"color": COLOURS[index % len(COLOURS)], "ls": DASHES[(index + index // len(COLOURS)) % len(DASHES)]}


def svg(draw: Callable[[Axes], None], size_inches: tuple[float, float] = SIZE_INCHES) -> str:
    """The chart that `draw` makes of empty axes, as SVG text."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=size_inches, layout="constrained")
        draw(figure.add_subplot())
        text = io.StringIO()
        figure.savefig(text, format="svg", metadata={"Date": None})
    return BLANKS.sub(" ", PATH.sub(_rounded, COMMENT.sub("", text.getvalue()))).rstrip() + "\n"


def _rounded(path: re.Match[str]) -> str:
    """Coordinates of a path to a hundredth of a point, which no eye sees."""
    return LONG_NUMBER.sub(lambda number: f"{float(number[0]):.2f}", path[0])
