"""Samples in their order, decoded by threads into uint8 NHWC batches."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch

from recognition.data.decode import Payload, Where, decode_into
from recognition.data.order import batch_positions, sample_ids
from recognition.data.prefetch import Job, prefetched
from recognition.data.sources import Source
from recognition.runtime import Runtime

# What `image_slots` gave, then labels_B, ids_B and epochs_B.
Filled = tuple[Any, torch.Tensor, torch.Tensor, torch.Tensor]


@dataclass(frozen=True)
class Batch:
    """One rank's share of a step: uint8 RGB images; int64 labels, source indices and epochs; seconds waited for them.

    All on the CPU, the images pinned for a CUDA runtime; DALI's GPU decoder leaves the images on the device.
    """

    images_BHWC: torch.Tensor
    labels_B: torch.Tensor
    ids_B: torch.Tensor
    epochs_B: torch.Tensor
    wait_s: float


class Loader:
    """`num_steps` batches from `start_position` on; they depend on (seed, position, rank, world), never on the threads.

    Threads decode straight into the batch's buffer; `prefetch` batches are in flight. Flip and normalisation happen on
    the device (transforms.py). `start_position` counts samples of the whole stream (order.py); nothing before it is
    read, and a run may go on there with another number of ranks or another batch size. A damaged or odd-sized image
    raises InputError in the consumer, as does a read that hangs for `timeout_s`. No sample is skipped or replaced.
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
    ) -> None:
        self.source, self.batch_size, self.runtime, self.seed = source, batch_size, runtime, seed
        self.num_workers, self.prefetch, self.timeout_s = num_workers, prefetch, timeout_s
        self.start_position, self.num_steps, self.image_size = start_position, num_steps, image_size

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

    def image_slots(self) -> tuple[Any, Callable[[int, Payload, Where], None]]:
        """What the images of one batch go into, and the function (slot, payload, where) that puts one in."""
        size = (self.batch_size, self.image_size, self.image_size, 3)
        images_BHWC = torch.empty(size, dtype=torch.uint8, pin_memory=self.runtime.device.type == "cuda")
        pixels_BHWC = images_BHWC.numpy()
        return images_BHWC, lambda slot, payload, where: decode_into(pixels_BHWC[slot], payload, where)

    def batches(self, filled: Iterator[tuple[Filled, float]]) -> Iterator[Batch]:
        """Batches of what the threads have filled, each with the seconds that it was waited for."""
        for (images_BHWC, *others), wait_s in filled:
            yield Batch(images_BHWC, *others, wait_s)

    def _job(self, step: int) -> Job[Filled]:
        ids, epochs = self.samples_of(step)
        labels = np.empty(self.batch_size, np.int64)
        images, put = self.image_slots()

        def describe(slot: int) -> str:
            return self.source.describe(int(ids[slot]))

        def fill(slot: int) -> None:
            sample = self.source.read(int(ids[slot]))
            put(slot, sample.payload, partial(describe, slot))
            labels[slot] = sample.label

        filled = (images, torch.from_numpy(labels), torch.from_numpy(ids), torch.from_numpy(epochs))
        return Job(filled, self.batch_size, fill, describe)


def try_first(source: Source, image_size: int) -> None:
    """Decode one picture: InputError for damage or another size comes before a run has begun, not in it."""
    pixels_HWC = np.empty((image_size, image_size, 3), np.uint8)
    decode_into(pixels_HWC, source.read(0).payload, lambda: source.describe(0))
