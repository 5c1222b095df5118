"""How alike genuine and impostor pairs are, of one model or of several; and the loss of a training."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from recognition.chart import FAINT, GENUINE, IMPOSTOR, INK, SIZE_INCHES, percent_axis, svg

KINDS = {"impostor": (IMPOSTOR, "different people"), "genuine": (GENUINE, "same person")}
ROW_INCHES, ROW_SHARE = 0.5, 0.9  # of a model among several; how much of its row the highest bar fills


def histogram_svg(names: Sequence[str], outcomes: Sequence[Mapping[str, Any]]) -> str | None:
    """Share of genuine and of impostor pairs at each cosine similarity, with the threshold where there is one.

    One model has an axis of shares; several stand below each other on one scale.
    """
    known = [(name, outcome) for name, outcome in zip(names, outcomes) if _has_pairs(outcome)]
    if not known:
        return None
    several = len(outcomes) > 1
    highest = max(max(_shares(outcome, kind)) for _, outcome in known for kind in KINDS)
    scale = ROW_SHARE / highest if several else 1

    def draw(axes: Axes) -> None:
        for row, (_, outcome) in enumerate(known):
            base = len(known) - 1 - row
            edges = outcome["histogram"]["cosine_edges"]
            for kind, (colour, label) in KINDS.items():
                heights = base + scale * np.array(_shares(outcome, kind))
                axes.stairs(heights, edges, baseline=base, fill=True, color=colour, alpha=0.45)
                axes.stairs(heights, edges, baseline=base, color=colour, lw=1.5, label=None if row else label)
            if outcome.get("threshold") is not None:
                at, top = 1 - outcome["threshold"] / 2, base + scale * highest
                axes.plot([at, at], [base, top], color=INK, ls="--", lw=1.2, label=None if row else "threshold")
        axes.set_xlabel("cosine similarity")
        if several:
            axes.set_yticks(range(len(known)), [name for name, _ in reversed(known)])
            axes.set_ylim(0, len(known) + 0.55)
        else:
            percent_axis(axes.yaxis)
            axes.set_ylim(0, 1.25 * highest)
            axes.set_ylabel("share of pairs")
        axes.legend(loc="upper left", ncols=3, columnspacing=1, handlelength=1.2)

    return svg(draw, (5.0, 1.3 + ROW_INCHES * len(known)) if several else SIZE_INCHES)


def _has_pairs(outcome: Mapping[str, Any]) -> bool:
    histogram = outcome.get("histogram")
    return bool(histogram) and sum(histogram["genuine"]) + sum(histogram["impostor"]) > 0


def _shares(outcome: Mapping[str, Any], kind: str) -> list[float]:
    counts = outcome["histogram"][kind]
    return [count / max(sum(counts), 1) for count in counts]


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
