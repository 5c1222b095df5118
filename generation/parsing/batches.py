"""What the steps of a parsing run see, as a function of the seed, the step and the rank."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from generation.parsing.augmentation import mirrored, varied
from generation.parsing.config import ParsingConfig
from generation.parsing.masks import MaskedPictures
from recognition.data.prefetch import Job, prefetched
from recognition.errors import InputError
from recognition.permutation import permutation_keys, permute
from recognition.runtime import Runtime

AHEAD = 4  # batches that are read while one is computed with
_DRAWS = int.from_bytes(b"masks", "big")


@dataclass(frozen=True, eq=False)
class MaskBatch:
    """A rank's pictures of a step, uint8 (B, S, S, 3), their masks, int64 (B, S, S), and the seconds waited for."""

    images_BHWC: Tensor
    masks_BHW: Tensor
    wait_s: float = 0.0


class MaskBatches:
    """The batches of a run, read ahead by threads; in each pass over the pictures their order is another one.

    All are full: where a pass ends amid a batch, the next one begins in it.
    """

    def __init__(self, pictures: MaskedPictures, cfg: ParsingConfig, runtime: Runtime) -> None:
        if not len(pictures):
            raise InputError("there are no pictures to train on")
        self.pictures, self.cfg, self.runtime = pictures, cfg, runtime

    def from_step(self, first: int) -> Iterator[MaskBatch]:
        """The batches of steps `first`, ... to the last; close it to end its threads."""
        cfg = self.cfg
        jobs = (self._job(step) for step in range(first, cfg.steps))
        for batch, wait_s in prefetched(
            jobs, num_workers=cfg.num_workers, prefetch=AHEAD, timeout_s=cfg.data_timeout_s
        ):
            yield replace(batch, wait_s=wait_s)

    def rows(self, step: int) -> list[int]:
        """Which pictures this rank sees at a step."""
        count, size = len(self.pictures), self.cfg.batch_size
        start = (step * self.runtime.world + self.runtime.rank) * size
        return [
            int(permute(np.array([place % count]), count, permutation_keys(self.cfg.seed, place // count))[0])
            for place in range(start, start + size)
        ]

    def _job(self, step: int) -> Job[MaskBatch]:
        cfg, side, rows_B = self.cfg, self.pictures.image_size, self.rows(step)
        images = torch.empty(len(rows_B), side, side, 3, dtype=torch.uint8)
        masks = torch.empty(len(rows_B), side, side, dtype=torch.int64)

        def fill(slot: int) -> None:
            # Of its own for each picture: which thread comes first must not matter.
            draw = np.random.default_rng([_DRAWS, cfg.seed, step, self.runtime.rank, slot])
            both = self.pictures.read(rows_B[slot])
            if not cfg.plain:
                both = varied(*both, draw)
            elif draw.random() < 0.5:
                both = mirrored(*both)
            images.numpy()[slot], masks.numpy()[slot] = both

        return Job(MaskBatch(images, masks), len(rows_B), fill, lambda slot: self.pictures.describe(rows_B[slot]))
