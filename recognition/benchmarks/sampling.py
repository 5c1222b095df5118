"""Drawing the classes of a step and finding the labels among them: a keyed permutation against a sort of the shard."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from recognition.benchmarks.baseline import draw_classes
from recognition.benchmarks.clock import Side, Step
from recognition.head.sampling import Draw, tail_places
from recognition.head.shards import num_sampled
from recognition.runtime import Runtime

SORTED, DRAWN = "sorted", "drawn"
RATE = 0.1
# Milliseconds each: more repeats cost nothing and find the undisturbed one, and a turn is several draws, so that what
# the other side left in the caches falls on one of them.
MORE_REPEATS = 4
DRAWS = 8


def sampling_sides(num_local: int, batch: int) -> dict[str, Side]:
    """The baseline's way and ours, `batch` labels in a shard of `num_local` classes."""
    return {
        SORTED: Side(partial(_sort, num_local, batch), keeps_memory=False),
        DRAWN: Side(partial(_draw, num_local, batch)),
    }


def _sort(num_local: int, batch: int, runtime: Runtime) -> Step:
    labels_G = _labels(num_local, batch, runtime)

    def step(number: int) -> None:
        for _ in range(DRAWS):
            torch.searchsorted(draw_classes(labels_G, num_local, RATE), labels_G)

    return step


def _draw(num_local: int, batch: int, runtime: Runtime) -> Step:
    labels_G = _labels(num_local, batch, runtime)

    def step(number: int) -> None:
        for draw in range(DRAWS):
            drawn(labels_G, num_local, RATE, step=DRAWS * number + draw)

    return step


def _labels(num_local: int, batch: int, runtime: Runtime) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(num_local, (batch,), generator=generator).to(runtime.device)


def drawn(labels_G: Tensor, num_local: int, rate: float, *, step: int) -> tuple[Tensor, Tensor]:
    """Classes (S + G,) of a step as the head finds them, and the slot (G,) of each label among them."""
    draw = Draw(num_local, num_sampled(num_local, rate), seed=0, step=step, rank=0, device=labels_G.device)
    classes_S, slot_G = draw.on(labels_G.device), draw.slots(labels_G)
    place_G, in_use_G = tail_places(torch.where(slot_G < 0, labels_G, -1))
    tail_G = torch.where(in_use_G, labels_G, num_local)
    slot_G = torch.where(slot_G < 0, len(classes_S) + place_G, slot_G)
    return torch.cat([classes_S, tail_G]), slot_G
