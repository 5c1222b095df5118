"""Losses that leap: told at once, with the samples that did it, without a threshold to tune for each loss."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np

from recognition.data.order import sample_ids

_LISTED = 64


@dataclass(frozen=True)
class Spike:
    """A loss far above those before it, and the source indices of its global batch; `str` is the line for the log."""

    step: int
    loss: float
    median: float
    ids: tuple[int, ...]

    def __str__(self) -> str:
        more = f" and {len(self.ids) - _LISTED} more" if len(self.ids) > _LISTED else ""
        return (
            f"step {self.step}: loss {self.loss:.4g} is {self.loss / self.median:.1f} times the median "
            f"{self.median:.4g} of the steps before; its samples: {', '.join(map(str, self.ids[:_LISTED]))}{more}"
        )

    @property
    def row(self) -> dict[str, Any]:
        """Values of a row of metrics, with the ids of all samples."""
        return {"loss": self.loss, "median": self.median, "ids": list(self.ids)}


class SpikeLog:
    """Compares each loss with `factor` times the median of the last `window` finite ones, once there are `at_least`.

    A spike enters the window as any finite loss does. One alone hardly moves a median, and a loss that leaps and stays
    up is told again and again until it fills half of the window: a plateau is seen, yet becomes the measure in the end.
    What is not finite never enters, nor is it a spike: the vote of the step reports it. `losses` is all the state.
    """

    def __init__(self, factor: float, *, window: int = 100, at_least: int = 20, losses: Iterable[float] = ()) -> None:
        self.factor, self.at_least = factor, at_least
        self.losses: deque[float] = deque(losses, maxlen=window)

    def note(self, step: int, loss: float, ids: Callable[[], Sequence[int] | np.ndarray]) -> Spike | None:
        """Take in the loss of `step`; a Spike if it is one, for which alone `ids` is called. Never at a factor of 0."""
        if not self.factor or not math.isfinite(loss):
            return None
        usual = median(self.losses) if len(self.losses) >= self.at_least else math.inf
        self.losses.append(loss)
        # Below zero, where a regulariser may take a loss, "times the median" has no meaning.
        if not 0 < self.factor * usual < loss:
            return None
        return Spike(step, loss, usual, tuple(int(number) for number in ids()))


def stream_ids(start: int, count: int, *, num_samples: int, seed: int) -> list[int]:
    """Source indices at `count` stream positions from `start` on: a step's on all ranks, without a collective.

    A bad record is named itself, not the substitute that was shown in its place.
    """
    return sample_ids(np.arange(start, start + count), num_samples=num_samples, seed=seed).tolist()
