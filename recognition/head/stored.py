"""What a shard of class centres is on disk, and how shards of any number of ranks become those of any other.

K classes of a shard, c centres of each, P tensors of a centre (itself, then optimizer slots), D embedding.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from recognition.errors import InputError
from recognition.head.centers import UNTOUCHED, Centers, settle_
from recognition.head.initial import initial_centers
from recognition.head.missed import MissedSteps

TABLE, CLOCK, SKIPPED, MISSED = "head.table", "head.clock", "head.skipped", "head.missed."
_BLOCK_CLASSES = 1 << 14


class ShardFacts(NamedTuple):
    """Which classes a stored shard holds, how many steps it has seen, and whether every row was given its start."""

    first_class: int
    num_local: int
    steps: int
    is_whole: bool


class StoredShard(NamedTuple):
    """A shard as a file has it: `rows(name, start, stop)` reads places of the shard, `get(name)` all of a tensor."""

    facts: ShardFacts
    names: Sequence[str]
    rows: Callable[[str, int, int], Tensor]
    get: Callable[[str], Tensor]


def shard_tensors(centers: Centers) -> dict[str, Tensor]:
    """The live tensors of a shard by their names on disk.

    Rows stay as they are, with what they owe for missed steps noted beside them: to settle it here would round
    differently from a run that was not stored.
    """
    tensors = {TABLE: centers.table_KCPD[: centers.num_local], SKIPPED: centers.skipped}
    if centers.has_clock or not centers.is_whole:
        tensors[CLOCK] = centers.clock_K[: centers.num_local]
        if centers.optimizer.catches_up:
            tensors |= {MISSED + name: tensor for name, tensor in centers.missed.tensors().items()}
    return tensors


def shard_facts(centers: Centers) -> ShardFacts:
    """The numbers that go with `shard_tensors`."""
    return ShardFacts(centers.first_class, centers.num_local, centers.steps, centers.is_whole)


def restore_shard(centers: Centers, shards: Sequence[StoredShard], *, takes_all: bool) -> None:
    """Fill `centers`, all of which every step takes or not, from the stored shards that hold its classes.

    InputError where they do not hold all of them.
    """
    first, stop = centers.first_class, centers.first_class + centers.num_local
    used = [shard for shard in shards if _overlap(shard, first, stop)]
    if sum(end - start for start, end in (_overlap(shard, first, stop) for shard in used)) != centers.num_local:
        raise InputError(f"the checkpoint does not hold the centres of all classes from {first} to {stop}")
    centers.steps, centers.is_whole = shards[0].facts.steps, all(shard.facts.is_whole for shard in used)
    clocked = [shard for shard in shards if CLOCK in shard.names]
    centers.missed.restore(centers.steps, _missed(clocked))
    centers.skipped.copy_(shards[0].get(SKIPPED) if SKIPPED in shards[0].names else torch.tensor(0))
    centers.forget_clock()
    if clocked or not takes_all:
        # A shard without a clock had all its rows touched by every step.
        touched = centers.steps if centers.optimizer.catches_up else centers.steps - centers.skipped
        centers.clock_K[: centers.num_local] = touched
    for shard in used:
        start, end = _overlap(shard, first, stop)
        for begin in range(start, end, _BLOCK_CLASSES):
            until = min(begin + _BLOCK_CLASSES, end)
            there = (begin - shard.facts.first_class, until - shard.facts.first_class)
            here = slice(begin - first, until - first)
            centers.table_KCPD[here] = shard.rows(TABLE, *there).to(centers.home)
            if CLOCK in shard.names:
                centers.clock_K[here] = shard.rows(CLOCK, *there).to(centers.home)


class CentersOnDisk:
    """Centres of a stored run by class, brought up to date, for a run that starts from them.

    `seed` is the stored run's: centres that it never touched are drawn again from it.
    """

    def __init__(self, shards: Sequence[StoredShard], *, seed: int) -> None:
        self._shards, self._seed = shards, seed
        self.num_classes = max(shard.facts.first_class + shard.facts.num_local for shard in shards)
        _, self.subcenters, _, self.embedding_size = shards[0].rows(TABLE, 0, 0).shape
        self._steps = MissedSteps(torch.device("cpu"))
        maps = _missed([shard for shard in shards if CLOCK in shard.names])
        self._steps.restore(shards[0].facts.steps, maps)
        self._owes = maps is not None

    def centers_of(self, classes_N: np.ndarray) -> Tensor:
        """Centres float32 (N, c, D) of the int64 classes (N,), in any order."""
        classes = torch.from_numpy(np.asarray(classes_N, np.int64))
        centers_NcD = torch.empty(len(classes), self.subcenters, self.embedding_size)
        for shard in self._shards:
            for start in range(0, shard.facts.num_local, _BLOCK_CLASSES):
                stop = min(start + _BLOCK_CLASSES, shard.facts.num_local)
                place_N = classes - shard.facts.first_class - start
                wanted_N = torch.nonzero((place_N >= 0) & (place_N < stop - start)).squeeze(1)
                if len(wanted_N):
                    centers_NcD[wanted_N] = self._block(shard, start, stop)[place_N[wanted_N]]
        return centers_NcD

    def _block(self, shard: StoredShard, start: int, stop: int) -> Tensor:
        rows_NCPD = shard.rows(TABLE, start, stop).clone()
        if CLOCK in shard.names:
            clock_N = shard.rows(CLOCK, start, stop)
            fresh_M = torch.nonzero(clock_N == UNTOUCHED).squeeze(1)
            classes_M = shard.facts.first_class + start + fresh_M
            fresh_McD = initial_centers(classes_M, self.subcenters, self.embedding_size, seed=self._seed)
            rows_NCPD[fresh_M] = 0
            rows_NCPD[fresh_M, :, 0] = fresh_McD.to(rows_NCPD.dtype)
            if self._owes:
                settle_(rows_NCPD, self._steps.products(clock_N.clamp_min(0)))
        return rows_NCPD[:, :, 0].float()


def _missed(clocked: Sequence[StoredShard]) -> dict[str, Tensor] | None:
    """The maps of missed steps, the same in every shard that has some."""
    for shard in clocked:
        if MISSED + "within" in shard.names:
            return {name: shard.get(MISSED + name) for name in ("within", "after")}
    return None


def _overlap(shard: StoredShard, first: int, stop: int) -> tuple[int, int] | None:
    """Classes in [first, stop) that the shard holds; None where there are none."""
    start, end = max(first, shard.facts.first_class), min(stop, shard.facts.first_class + shard.facts.num_local)
    return (start, end) if start < end else None
