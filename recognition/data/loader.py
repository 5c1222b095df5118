"""Samples in their order, decoded by threads into uint8 NHWC batches."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Any

import numpy as np
import torch

from recognition.data.decode import Payload, Where, decode_into
from recognition.data.order import batch_positions, sample_ids
from recognition.data.prefetch import Job, prefetched
from recognition.data.sources import Source
from recognition.data.substitutes import BadRecord, read_or_substitute
from recognition.runtime import Runtime

Put = Callable[[int, Payload, Where], None]


@dataclass(frozen=True)
class Batch:
    """One rank's share of a step: uint8 RGB images; int64 labels, source indices and epochs; seconds waited for them.

    All on the CPU, the images pinned for a CUDA runtime; DALI's GPU decoder leaves the images on the device. `bad`: the
    records that could not be read; labels and indices are those of the substitutes that are shown in their place.
    """

    images_BHWC: torch.Tensor
    labels_B: torch.Tensor
    ids_B: torch.Tensor
    epochs_B: torch.Tensor
    wait_s: float
    bad: tuple[BadRecord, ...] = ()


@dataclass(frozen=True)
class Filled:
    """A batch in the hands of the threads: what `image_slots` gave, int64 labels, indices, epochs; by slot, the bad.

    Each slot is one thread's alone.
    """

    images: Any
    labels_B: np.ndarray
    ids_B: np.ndarray
    epochs_B: np.ndarray
    bad_B: list[tuple[BadRecord, ...]]

    def batch(self, images_BHWC: torch.Tensor, wait_s: float) -> Batch:
        """What the training loop gets of it."""
        labels_B, ids_B, epochs_B = map(torch.from_numpy, (self.labels_B, self.ids_B, self.epochs_B))
        return Batch(images_BHWC, labels_B, ids_B, epochs_B, wait_s, tuple(chain.from_iterable(self.bad_B)))


class Loader:
    """`num_steps` batches from `start_position` on; they depend on (seed, position, rank, world), never on the threads.

    Threads decode straight into the batch's buffer; `prefetch` batches are in flight. Flip and normalisation happen on
    the device (transforms.py). `start_position` counts samples of the whole stream (order.py); nothing before it is
    read, and a run may go on there with another number of ranks or another batch size. A damaged or odd-sized image
    raises InputError in the consumer, as does a read that hangs for `timeout_s`. With `skip_bad` a substitute is shown
    in the place of the image instead (substitutes.py), and the batch says so; batches keep their size.
    """

    def __init__(
        self,
        source: Source,
        *,
        batch_size: int,
        runtime: Runtime,
        seed: int,
        num_workers: int = 2,
        prefetch: int = 4,
        start_position: int = 0,
        num_steps: int,
        image_size: int = 112,
        timeout_s: float = 60.0,
        skip_bad: bool = False,
    ) -> None:
        self.source, self.batch_size, self.runtime, self.seed = source, batch_size, runtime, seed
        self.num_workers, self.prefetch, self.timeout_s = num_workers, prefetch, timeout_s
        self.start_position, self.num_steps, self.image_size = start_position, num_steps, image_size
        self.skip_bad = skip_bad

    def __len__(self) -> int:
        return self.num_steps

    def __iter__(self) -> Iterator[Batch]:
        jobs = (self._job(step) for step in range(self.num_steps))
        filled = prefetched(jobs, num_workers=self.num_workers, prefetch=self.prefetch, timeout_s=self.timeout_s)
        with contextlib.closing(filled):
            yield from self.batches(filled)

    def samples_of(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        """Source indices and epochs (int64[B]) of this rank's batch at `step`, counted from `start_position`."""
        runtime, num_samples, start = self.runtime, len(self.source), self.start_position
        positions = batch_positions(
            step, batch_size=self.batch_size, rank=runtime.rank, world=runtime.world, start=start
        )
        return sample_ids(positions, num_samples=num_samples, seed=self.seed), positions // num_samples

    def image_slots(self) -> tuple[Any, Put]:
        """What the images of one batch go into, and the function (slot, payload, where) that puts one in."""
        size = (self.batch_size, self.image_size, self.image_size, 3)
        images_BHWC = torch.empty(size, dtype=torch.uint8, pin_memory=self.runtime.device.type == "cuda")
        pixels_BHWC = images_BHWC.numpy()
        return images_BHWC, lambda slot, payload, where: decode_into(pixels_BHWC[slot], payload, where)

    def batches(self, filled: Iterator[tuple[Filled, float]]) -> Iterator[Batch]:
        """Batches of what the threads have filled, each with the seconds that it was waited for."""
        for done, wait_s in filled:
            yield done.batch(done.images, wait_s)

    def fill(self, filled: Filled, put: Put, slot: int) -> None:
        """Read the sample of `slot`, or the substitute shown in its place, and `put` it in."""
        index = int(filled.ids_B[slot])
        if not self.skip_bad:
            self._show(filled, put, slot, index)
            return

        def show(shown: int) -> None:
            filled.ids_B[slot] = shown
            self._show(filled, put, slot, shown)

        epoch = int(filled.epochs_B[slot])
        filled.bad_B[slot] = read_or_substitute(self.source, index, show, epoch=epoch, seed=self.seed)

    def _show(self, filled: Filled, put: Put, slot: int, index: int) -> None:
        sample = self.source.read(index)
        put(slot, sample.payload, partial(self.source.describe, index))
        filled.labels_B[slot] = sample.label

    def _job(self, step: int) -> Job[Filled]:
        ids_B, epochs_B = self.samples_of(step)
        images, put = self.image_slots()
        filled = Filled(images, np.empty(self.batch_size, np.int64), ids_B, epochs_B, [()] * self.batch_size)

        def describe(slot: int) -> str:
            return self.source.describe(int(ids_B[slot]))

        return Job(filled, self.batch_size, partial(self.fill, filled, put), describe)
