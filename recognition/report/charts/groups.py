"""How much better or worse a model judges each group of people, of all models in one chart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes

from recognition.chart import line_style, percent_axis, svg

ROW_INCHES = 0.16  # of a model in a group


def groups_svg(names: Sequence[str], outcomes: Sequence[dict[str, Any]]) -> str | None:
    """Accuracy of each group at the one threshold of all, with its interval; groups from top to bottom as they come."""
    order = list(dict.fromkeys(group["group"] for outcome in outcomes for group in outcome.get("groups") or ()))
    if not order:
        return None

    def draw(axes: Axes) -> None:
        for index, outcome in enumerate(outcomes):
            groups = [group for group in outcome.get("groups") or () if group["accuracy"] is not None]
            colour = line_style(index)["color"]
            shift = (index - (len(outcomes) - 1) / 2) * 0.7 / len(outcomes)
            y = [order.index(group["group"]) + shift for group in groups]
            known = [
                (at, g["accuracy_low"], g["accuracy_high"])
                for at, g in zip(y, groups)
                if g.get("accuracy_low") is not None
            ]
            if known:
                axes.hlines(*zip(*known), color=colour, lw=2)
            axes.plot([group["accuracy"] for group in groups], y, "o", color=colour, ms=5, label=names[index])
        axes.set_yticks(range(len(order)), [name if len(name) <= 24 else name[:23] + "…" for name in order])
        axes.set_ylim(len(order) - 0.5, -0.5)
        percent_axis(axes.xaxis)
        axes.set_xlabel("accuracy")
        if len(outcomes) > 1:
            axes.figure.legend(loc="outside lower center", ncols=3, fontsize=9)

    return svg(draw, (5.0, 1.2 + len(order) * (0.2 + ROW_INCHES * len(outcomes))))
