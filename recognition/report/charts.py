"""The charts of a report as SVG text: ROC, score histogram, loss curve. Plain figures, no global plotting state."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter

from recognition.chart import FAINT, GENUINE, IMPOSTOR, INK, svg
from recognition.spread import spread
from recognition.targets.pairs import MAX_POINTS, cosine, score_histogram
from recognition.verification.protocol import VerificationResult


def roc_svg(result: VerificationResult) -> str:
    """True accept rate over the false accept rate (log axis), with the figures of the table marked."""
    lowest = 1 / result.num_impostor
    far, tar = result.roc_far, result.roc_tar
    # One point per false accept rate: the best true accept rate that it allows.
    last = np.flatnonzero(np.diff(far, append=2) > 0)
    far, tar = np.maximum(far[last], lowest / 2), tar[last]
    keep = np.unique(np.r_[np.arange(min(len(far), 200)), spread(len(far), MAX_POINTS)])

    def draw(axes: Axes) -> None:
        axes.step(far[keep], tar[keep], where="post", color=GENUINE, lw=2)
        marks = [(rate, value) for rate, value in result.tar_at_far.items() if value is not None]
        for rate, value in marks:
            axes.plot([rate], [value], "o", color=GENUINE, ms=5)
            axes.annotate(f"{value:.1%}", (rate, value), (5, -13), textcoords="offset points", fontsize=9)
        axes.plot([result.eer], [1 - result.eer], "D", color=IMPOSTOR, ms=5, label=f"equal error rate {result.eer:.2%}")
        axes.set_xscale("log")
        axes.set_xlim(lowest / 2, 1.1)
        axes.set_ylim(max(0, np.floor(10 * tar.min() - 1) / 10), 1.02)
        axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        axes.set_xlabel("false accept rate")
        axes.set_ylabel("true accept rate")
        axes.legend(loc="lower right")

    return svg(draw)


def histogram_svg(result: VerificationResult) -> str:
    """How alike the two pictures of a pair are, genuine and impostor pairs apart, with the threshold."""
    edges, genuine, impostor = score_histogram(result)

    def draw(axes: Axes) -> None:
        for counts, colour, label in ((impostor, IMPOSTOR, "different people"), (genuine, GENUINE, "same person")):
            axes.stairs(counts / max(counts.sum(), 1), edges, fill=True, color=colour, alpha=0.45)
            axes.stairs(counts / max(counts.sum(), 1), edges, color=colour, lw=1.5, label=label)
        axes.axvline(cosine(result.threshold), ymax=0.84, color=INK, ls="--", lw=1.2, label="threshold")
        axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        axes.set_ylim(0, 1.25 * axes.get_ylim()[1])
        axes.set_xlabel("cosine similarity")
        axes.set_ylabel("share of pairs")
        axes.legend(loc="upper left", ncols=3, columnspacing=1, handlelength=1.2)

    return svg(draw)


def loss_svg(steps: Sequence[float], losses: Sequence[float], rates: Sequence[float]) -> str:
    """Loss (left) and learning rate (right) over the steps of a run."""

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
