"""What the steps of an epoch see: pictures, what they have and what they shall have, as functions of (seed, step)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from generation.stargan.config import StarGANConfig
from generation.stargan.pictures import AttributePictures
from recognition.data.prefetch import Job, prefetched
from recognition.errors import InputError
from recognition.heads.classes import NAMES
from recognition.permutation import permutation_keys, permute
from recognition.runtime import Runtime

AHEAD = 4  # batches that are read while one is computed with
_DRAWS = int.from_bytes(b"draws", "big")


@dataclass(frozen=True, eq=False)
class AttributeBatch:
    """A rank's pictures of a step, uint8 (B, S, S, 3), some of them mirrored, and the seconds that were waited for.

    `labels_BA` is what they have, `targets_BA` what they shall have, float32; `shares_B` in [0, 1) for the penalty.
    `keep_B1HW`, bool, is where an edit shall change nothing, None where nobody says.
    """

    images_BHWC: Tensor
    labels_BA: Tensor
    targets_BA: Tensor
    shares_B: Tensor
    keep_B1HW: Tensor | None = None
    wait_s: float = 0.0


class AttributeBatches:
    """The batches of each epoch, read ahead by threads; all full, so that up to B * W - 1 pictures are left, others
    in each epoch.
    """

    def __init__(self, pictures: AttributePictures, cfg: StarGANConfig, runtime: Runtime) -> None:
        self.pictures, self.cfg, self.runtime = pictures, cfg, runtime
        self.kept = np.array([NAMES.index(name) for name in cfg.keep_classes], np.uint8)
        self.steps = len(pictures) // (cfg.batch_size * runtime.world)
        if not self.steps:
            raise InputError(
                f"{len(pictures)} pictures to train on make no step of --batch_size {cfg.batch_size} on "
                f"{runtime.world} rank(s); give a smaller one"
            )

    def epoch(self, epoch: int, *, first_step: int = 0) -> Iterator[AttributeBatch]:
        """The batches of steps `first_step`, ... of an epoch; close it to end its threads."""
        cfg, count, size = self.cfg, len(self.pictures), self.cfg.batch_size
        order_N = permute(np.arange(count), count, permutation_keys(cfg.seed, epoch))

        def jobs() -> Iterator[Job[AttributeBatch]]:
            for step in range(first_step, self.steps):
                start = (step * self.runtime.world + self.runtime.rank) * size
                yield self._job(order_N[start : start + size], epoch * self.steps + step)

        for batch, wait_s in prefetched(
            jobs(), num_workers=cfg.num_workers, prefetch=AHEAD, timeout_s=cfg.data_timeout_s
        ):
            yield replace(batch, wait_s=wait_s)

    def _job(self, rows_B: np.ndarray, step: int) -> Job[AttributeBatch]:
        pictures, side = self.pictures, self.pictures.image_size
        draw = np.random.default_rng([_DRAWS, self.cfg.seed, step, self.runtime.rank])
        flips_B = draw.random(len(rows_B)) < 0.5
        # Attributes of other pictures: so targets are as frequent, and go together, as they do in truth.
        targets_B = draw.integers(len(pictures), size=len(rows_B))
        images = torch.empty(len(rows_B), side, side, 3, dtype=torch.uint8)
        keep = None if pictures.masks is None else torch.empty(len(rows_B), 1, side, side, dtype=torch.bool)
        batch = AttributeBatch(
            images,
            torch.from_numpy(pictures.labels_NA[rows_B]).float(),
            torch.from_numpy(pictures.labels_NA[targets_B]).float(),
            torch.from_numpy(draw.random(len(rows_B), dtype=np.float32)),
            keep,
        )

        def fill(slot: int) -> None:
            pixels_HWC = pictures.read(int(rows_B[slot]))
            images.numpy()[slot] = pixels_HWC[:, ::-1] if flips_B[slot] else pixels_HWC
            if keep is not None:
                keep_HW = np.isin(pictures.mask(int(rows_B[slot])), self.kept)
                keep.numpy()[slot, 0] = keep_HW[:, ::-1] if flips_B[slot] else keep_HW

        return Job(batch, len(rows_B), fill, lambda slot: pictures.describe(int(rows_B[slot])))
