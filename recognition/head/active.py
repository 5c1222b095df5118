"""The rows of one step: which classes take part, fetched ahead where they are far, found by label, and put back.

G global batch, S active classes (drawn ones, then the tail: see sampling.py), T slots of the tail, K classes of the
shard, c centres of each, P tensors of a centre, D embedding.
"""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor

import torch

from recognition.head.centers import Centers
from recognition.head.room import Room
from recognition.head.sampling import Draw, tail_places


class ActiveRows:
    """Rows (S, c, P, D) of the classes that a step touches: all of them in place, or a copy of those drawn.

    A step is `begin`, `place` for each of its batches, `end`; rows of a far table travel in a thread of their own, in
    that order, so that fetching runs behind the backbone and what it fetches has all that was put back before.
    """

    def __init__(self, centers: Centers, num_drawn: int, *, seed: int, rank: int) -> None:
        self.centers, self.num_drawn, self.seed, self.rank = centers, num_drawn, seed, rank
        # Rows that lie elsewhere are always fetched, be it all of them.
        self.takes_all = num_drawn >= centers.num_local and centers.home == centers.device
        self.rows_SCPD: torch.Tensor | None = None
        self._room = Room(centers.device)
        self._worker = ThreadPoolExecutor(1, "centers") if centers.is_far and not self.takes_all else None
        self._pending: list[Future] = []
        self._draw: Draw | None = None

    @property
    def has_begun(self) -> bool:
        """Whether a step is under way."""
        return self.rows_SCPD is not None

    def begin(self, step: int, num_tail: int) -> None:
        """Draw the classes of `step` and start fetching them; its batches have `num_tail` samples in all."""
        if self.has_begun:
            raise RuntimeError("a step is under way: call update() before the next")
        if self.takes_all:
            self.rows_SCPD = self.centers.everything()
            return
        centers = self.centers
        self._draw = Draw(
            centers.num_local, self.num_drawn, seed=self.seed, step=step, rank=self.rank, device=centers.device
        )
        shape = (self.num_drawn + num_tail, *centers.table_KCPD.shape[1:])
        self.rows_SCPD = self._room.of("rows", shape, centers.table_KCPD.dtype)
        self._missed: list[torch.Tensor] = []
        self._tail_T = torch.full((num_tail,), centers.num_local, device=centers.device)
        self._used_T = torch.zeros(num_tail, dtype=torch.bool, device=centers.device)
        # Batches to come have their slots already, and 0 times what lies there must be 0. Queued with the rest:
        # the rows of the step before may still be on their way out of this memory.
        self._travel(torch.Tensor.zero_, self.rows_SCPD[self.num_drawn :])
        self._travel(centers.bring_in, self._draw.on(centers.home), self.rows_SCPD[: self.num_drawn])

    def place(self, labels_G: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Slot int64 (G,) of each local label, -1 for those of -1; which slots of the tail take part, bool (T,).

        Brings in what the draw missed; no tail (None) where all classes take part.
        """
        if self.takes_all:
            return labels_G, None
        slot_G = self._draw.slots(labels_G)
        is_missed_G = (labels_G >= 0) & (slot_G < 0)
        start, stop = len(labels_G) * len(self._missed), len(labels_G) * (len(self._missed) + 1)
        if stop > len(self._tail_T):
            raise RuntimeError("more batches than prepare() was told of")
        self._missed.append(torch.where(is_missed_G, labels_G, -1))
        place_N, used_N = tail_places(torch.cat(self._missed))
        self._used_T[start:stop] = used_N[start:]
        self._tail_T[start:stop] = torch.where(used_N[start:], labels_G, self.centers.num_local)
        rows = self.rows_SCPD[self.num_drawn + start : self.num_drawn + stop]
        self._travel(self.centers.bring_in, self._tail_T[start:stop].to(self.centers.home), rows)
        self.wait()
        return torch.where(is_missed_G, self.num_drawn + place_N[start:], slot_G), self._used_T.clone()

    def touches(self) -> torch.Tensor:
        """How often each row was updated before, (S * c,) or one number for all."""
        classes = None if self.takes_all else self._classes().to(self.centers.home)
        return self.centers.touches(classes).to(self.centers.device)

    def end(self, lr: float, skip: torch.Tensor | None = None) -> None:
        """Put the rows back after a step at rate `lr`, which changed nothing where `skip` is not 0."""
        self.centers.advance(lr, skip)
        taken = 1 if skip is None else (skip == 0).to(self.centers.home, torch.int32)
        if self.takes_all:
            self.centers.count_all(taken)
        else:
            self._travel(self.centers.put_back, self._classes().to(self.centers.home), self.rows_SCPD, taken)
        self.rows_SCPD = self._draw = None

    def abandon(self) -> None:
        """End a step that is not taken: the table stays as it was."""
        self.wait()
        self.rows_SCPD = self._draw = None

    def wait(self) -> None:
        """Until nothing travels any more; errors of the journey are raised here."""
        pending, self._pending = self._pending, []
        for journey in pending:
            journey.result()

    def _classes(self) -> torch.Tensor:
        return torch.cat([self._draw.on(self.centers.device), self._tail_T])

    def _travel(self, journey, *arguments: torch.Tensor) -> None:  # noqa: ANN001
        if self._worker is None:
            journey(*arguments)
            return
        self._pending.append(self._worker.submit(journey, *arguments))
