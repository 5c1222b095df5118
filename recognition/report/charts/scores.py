"""How alike genuine and impostor pairs are, of one model; and the loss of its training."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from recognition.chart import FAINT, GENUINE, IMPOSTOR, INK, percent_axis, svg


def histogram_svg(outcome: dict[str, Any]) -> str | None:
    """Share of genuine and of impostor pairs at each cosine similarity, with the threshold where there is one."""
    histogram = outcome.get("histogram")
    if not histogram or not sum(histogram["genuine"]) + sum(histogram["impostor"]):
        return None
    threshold = outcome.get("threshold")

    def draw(axes: Axes) -> None:
        edges = np.array(histogram["cosine_edges"])
        for kind, colour, label in (("impostor", IMPOSTOR, "different people"), ("genuine", GENUINE, "same person")):
            shares = np.array(histogram[kind]) / max(sum(histogram[kind]), 1)
            axes.stairs(shares, edges, fill=True, color=colour, alpha=0.45)
            axes.stairs(shares, edges, color=colour, lw=1.5, label=label)
        if threshold is not None:
            axes.axvline(1 - threshold / 2, ymax=0.84, color=INK, ls="--", lw=1.2, label="threshold")
        percent_axis(axes.yaxis)
        axes.set_ylim(0, 1.25 * axes.get_ylim()[1])
        axes.set_xlabel("cosine similarity")
        axes.set_ylabel("share of pairs")
        axes.legend(loc="upper left", ncols=3, columnspacing=1, handlelength=1.2)

    return svg(draw)


def loss_svg(training: Mapping[str, Sequence[float | None]]) -> str:
    """Loss (left) and learning rate (right) over the steps of a run."""
    steps, losses, rates = (
        [math.nan if value is None else value for value in training[key]] for key in ("step", "loss", "lr")
    )

    def draw(axes: Axes) -> None:
        axes.plot(steps, losses, color=GENUINE, lw=1.6)
        axes.set_xlabel("step")
        axes.set_ylabel("loss", color=GENUINE)
        right = axes.twinx()
        right.plot(steps, rates, color=FAINT, lw=1.2, ls="--")
        right.set_ylabel("learning rate", color=FAINT)
        right.grid(False)
        right.spines["right"].set_visible(True)
        axes.set_ylim(bottom=0)
        right.set_ylim(bottom=0)

    return svg(draw)
