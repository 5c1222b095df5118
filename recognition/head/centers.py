"""The class centres of one shard with their optimizer state, wherever they are kept: one row of memory per class.

K classes of the shard, c centres of each, P tensors of a centre (itself, then optimizer slots), D embedding, S classes
of a step. Centre and state of a class lie side by side: to bring a class in is one read, 4 KB at D = 512 with momentum.
"""

from __future__ import annotations

import torch

from recognition.errors import InputError
from recognition.head.initial import initial_centers
from recognition.head.mapped import MappedTable
from recognition.head.missed import MissedSteps
from recognition.head.rows import RowOptimizer

# Rows at a time that are brought in, put back or flushed: 4 MB at D = 512, for the caches' sake.
_BLOCK_CLASSES = 1024
UNTOUCHED = -1


class Centers:
    """Rows float32 (c, P, D) of the classes [first_class, first_class + K), on the device, the host or in a file.

    `place` is "memory" (of `device`), "host", or "mmap:FOLDER" ("sparse:FOLDER": without asking whether the disk has
    room for all classes). Rows in a file are made when they are first brought in, so that a file of any size is ready
    at once and only grows by what was touched.
    """

    def __init__(
        self,
        first_class: int,
        num_local: int,
        embedding_size: int,
        *,
        subcenters: int = 1,
        optimizer: RowOptimizer,
        seed: int,
        device: torch.device,
        dtype: torch.dtype = torch.float32,
        place: str = "memory",
        shard: str = "0-of-1",
    ) -> None:
        self.first_class, self.num_local, self.subcenters = first_class, num_local, subcenters
        self.optimizer, self.seed, self.device = optimizer, seed, device
        # One class more than there are: rows of slots that stay empty are read from there and written there.
        shape = (num_local + 1, subcenters, 1 + optimizer.slots, embedding_size)
        self.file = None
        kind, _, folder = place.partition(":")
        if kind in ("mmap", "sparse") and folder:
            self.file = MappedTable(folder, shard, shape, dtype, sparse=kind == "sparse")
            self.table_KCPD = self.file.tensor
        elif place not in ("memory", "host"):
            raise InputError(f"centers={place!r} is not known; use memory, host, or mmap:FOLDER")
        else:
            home = torch.device("cpu") if place == "host" else device
            pinned = home.type == "cpu" and device.type == "cuda"
            self.table_KCPD = torch.zeros(shape, dtype=dtype, device=home, pin_memory=pinned)
            for start in range(0, num_local, _BLOCK_CLASSES):
                classes = torch.arange(start, min(start + _BLOCK_CLASSES, num_local), device=home)
                self.table_KCPD[classes, :, 0] = self._initial(classes)
        # Whether every row has been given its initial centre.
        self.is_whole = self.file is None
        # Steps so far, and how many of them changed nothing, which the host need not know.
        self.steps, self.skipped = 0, torch.zeros((), dtype=torch.int64, device=self.home)
        self.missed = MissedSteps(self.home)
        # 4 bytes for a row's 4 KB and more.
        self._clock_K: torch.Tensor | None = None

    @property
    def home(self) -> torch.device:
        """Where the table lives."""
        return self.table_KCPD.device

    @property
    def has_clock(self) -> bool:
        """Whether rows differ in the steps that touched them."""
        return self._clock_K is not None

    @property
    def clock_K(self) -> torch.Tensor:
        """Int32 (K + 1,): the step after which a row was last touched, for AdamW how often it was; -1: never made."""
        if self._clock_K is None:
            start = 0 if self.is_whole else UNTOUCHED
            self._clock_K = torch.full((self.num_local + 1,), start, dtype=torch.int32, device=self.home)
            self._clock_K[self.num_local] = 0
        return self._clock_K

    def forget_clock(self) -> None:
        """From now on every step touches every row."""
        self._clock_K = None

    @property
    def is_far(self) -> bool:
        """Whether rows should be fetched ahead of a step: they live in a file, or on the host of a GPU."""
        return self.file is not None or self.home != self.device

    def everything(self) -> torch.Tensor:
        """All rows (K, c, P, D), in place: for steps that touch every class."""
        if not self.is_whole or self.has_clock:
            self.flush()
        # Rows that every step touches never miss one; counts of touches that differ stay, and grow alike.
        if self.optimizer.catches_up:
            self.forget_clock()
        return self.table_KCPD[: self.num_local]

    def bring_in(self, classes_S: torch.Tensor, out_SCPD: torch.Tensor) -> None:
        """Copy rows of local classes into `out_SCPD`, on the way made up to date with the steps that they missed.

        K in `classes_S` stands for no class.
        """
        for start in range(0, len(classes_S), _BLOCK_CLASSES):
            classes = classes_S[start : start + _BLOCK_CLASSES]
            rows = out_SCPD[start : start + _BLOCK_CLASSES]
            if rows.device == self.home:
                torch.index_select(self.table_KCPD, 0, classes, out=rows)
                self._make_current(classes, rows)
            else:
                aside = self.table_KCPD.index_select(0, classes)
                self._make_current(classes, aside)
                rows.copy_(aside, non_blocking=True)

    def put_back(self, classes_S: torch.Tensor, rows_SCPD: torch.Tensor, taken: torch.Tensor | int = 1) -> None:
        """The inverse of `bring_in`, after the step's update and `advance`; `taken` is 0 where it changed nothing."""
        for start in range(0, len(classes_S), _BLOCK_CLASSES):
            classes = classes_S[start : start + _BLOCK_CLASSES]
            self.table_KCPD.index_copy_(0, classes, rows_SCPD[start : start + _BLOCK_CLASSES].to(self.home))
        clock_K = self.clock_K
        if self.optimizer.catches_up:
            clock_K[classes_S] = self.steps
        else:
            clock_K.index_copy_(0, classes_S, clock_K[classes_S].clamp_min(0) + taken)
        if self.file is not None:
            self.file.touched(rows_SCPD.nbytes)

    def touches(self, classes_S: torch.Tensor | None) -> torch.Tensor:
        """How often the rows of these classes (None: all) have been updated, for optimizers that ask.

        One number where no step told rows apart.
        """
        if classes_S is None and not self.has_clock:
            return self.steps - self.skipped
        if classes_S is None:
            classes_S = torch.arange(self.num_local, device=self.home)
        return self.clock_K[classes_S].clamp_min(0).repeat_interleave(self.subcenters)

    def advance(self, lr: float, skip: torch.Tensor | None = None) -> None:
        """One step at rate `lr` is over, for touched and untouched rows alike; where `skip` is not 0 it did nothing."""
        self.steps += 1
        if skip is not None:
            self.skipped += (skip != 0).to(self.skipped)
        if self.optimizer.catches_up and self._clock_K is not None:
            self.missed.append(self.optimizer.transition(lr), skip)

    def count_all(self, taken: torch.Tensor | int) -> None:
        """Note that a step touched every row, where rows were told apart before; `taken` is 0 if it changed nothing."""
        if self.has_clock and not self.optimizer.catches_up:
            self.clock_K[: self.num_local] += taken

    def flush(self) -> None:
        """Make every row, and make it up to date: what a checkpoint or an evaluation of the centres reads."""
        if self._clock_K is None and self.is_whole:
            return
        clock_K = self.clock_K
        for start in range(0, self.num_local, _BLOCK_CLASSES):
            classes = torch.arange(start, min(start + _BLOCK_CLASSES, self.num_local), device=self.home)
            self._make_current(classes, self.table_KCPD[start : start + len(classes)])
            if self.optimizer.catches_up:
                clock_K[classes] = self.steps
        clock_K.clamp_min_(0)
        self.is_whole = True

    def _initial(self, classes: torch.Tensor) -> torch.Tensor:
        """Initial centres (N, c, D) of local classes."""
        size = self.table_KCPD.shape[-1]
        centers = initial_centers(self.first_class + classes, self.subcenters, size, seed=self.seed)
        return centers.to(self.table_KCPD.dtype)

    def _make_current(self, classes: torch.Tensor, rows_NCPD: torch.Tensor) -> None:
        """Give rows as the table has them, of these classes, what the steps since they were touched did to them."""
        clock_N = self.clock_K[classes]
        if not self.is_whole:
            fresh = torch.nonzero(clock_N == UNTOUCHED).squeeze(1)
            rows_NCPD[fresh, :, 0] = self._initial(classes[fresh])
            rows_NCPD[fresh, :, 1:] = 0
        if self.optimizer.catches_up and self.steps > 0:
            settle_(rows_NCPD, self.missed.products(clock_N.clamp_min(0)))


def settle_(rows_NCPD: torch.Tensor, map_N22: torch.Tensor) -> None:
    """Apply to centres and momenta, in place, the maps of the steps that they missed."""
    map_N122 = map_N22.to(rows_NCPD.dtype)[:, None]
    center, momentum = rows_NCPD.unbind(2)
    moved = center * map_N122[..., 0, 0:1] + momentum * map_N122[..., 0, 1:2]
    momentum.mul_(map_N122[..., 1, 1:2]).addcmul_(center, map_N122[..., 1, 0:1])
    center.copy_(moved)
