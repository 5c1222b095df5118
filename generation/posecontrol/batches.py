"""What the steps of an epoch see: pairs, in an order that is a pure function of (seed, epoch), with their pictures."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from generation.pictures import PictureCache, read_pixels
from generation.posecontrol.config import PoseControlConfig
from generation.posecontrol.control_net import BATCH
from generation.posecontrol.pairs import Pairs
from generation.posecontrol.pose_set import PoseSet
from recognition.data.prefetch import Job, prefetched
from recognition.errors import InputError
from recognition.permutation import permutation_keys, permute
from recognition.runtime import Runtime

AHEAD = 4  # passes that are read while one is computed


@dataclass(frozen=True, eq=False)
class PairBatch:
    """A rank's pairs of one pass: pictures uint8 (B, S, S, 3), poses float32 (B, 3) in degrees, of the whole step the
    share of this pass, and the seconds that were waited for it.
    """

    source_BHWC: Tensor
    target_BHWC: Tensor
    source_pose_B3: Tensor
    target_pose_B3: Tensor
    share: float = 1.0
    wait_s: float = 0.0


def pass_sizes(num_pairs: int, *, batch_size: int, world: int, least: int) -> list[int]:
    """Pairs of each rank in each pass of an epoch: all equal but the last, which is left out where below `least`.

    So up to world * least - 1 pairs are not seen in an epoch, others in each.
    """
    full, rest = divmod(num_pairs, batch_size * world)
    last = rest // world
    return [batch_size] * full + ([last] if last >= least else [])


def steps_of(sizes: Sequence[int], accumulation: int) -> list[list[int]]:
    """Passes in groups of `accumulation`, one for each step; what remains at the end is a step, too."""
    return [list(sizes[start : start + accumulation]) for start in range(0, len(sizes), accumulation)]


def open_pictures(size: int, most_bytes: int) -> PictureCache[Path]:
    """The middle squares of picture files, uint8 (size, size, 3); InputError, with the path, for an unreadable one."""

    def read(path: Path) -> np.ndarray:
        try:
            return read_pixels(path, size, fills=True)
        except OSError as error:
            raise InputError(f"{path} cannot be read ({error.strerror}); it was there when the run began") from error

    return PictureCache(read, most_bytes)


class PairBatches:
    """The passes of each epoch over some pairs of a set, read ahead by threads."""

    def __init__(
        self, pose_set: PoseSet, pairs: Pairs, pictures: PictureCache[Path], cfg: PoseControlConfig, runtime: Runtime
    ) -> None:
        self.pose_set, self.pairs, self.pictures, self.cfg, self.runtime = pose_set, pairs, pictures, cfg, runtime
        # Statistics over one vector are none.
        self.least = 2 if cfg.proj_norm == BATCH else 1
        sizes = pass_sizes(
            len(pairs.front_P), batch_size=cfg.batch_size, world=runtime.world, least=min(self.least, cfg.batch_size)
        )
        self.steps = steps_of(sizes, cfg.gradient_accumulation_steps)

    def require_steps(self) -> None:
        """InputError where these pairs cannot be trained on."""
        if not self.steps or self.cfg.batch_size < self.least:
            raise InputError(
                f"{len(self.pairs.front_P)} pairs to train on make no pass of --batch_size {self.cfg.batch_size} on "
                f"{self.runtime.world} rank(s): BatchNorm wants two pictures on each; --proj_norm layer does not"
            )

    def epoch(self, epoch: int, *, first_step: int = 0) -> Iterator[list[PairBatch]]:
        """The passes of steps `first_step`, ... of an epoch, a list for each step; close it to end its threads."""
        read = self._read(self._jobs(epoch, first_step))
        try:
            for sizes in self.steps[first_step:]:
                yield [next(read) for _ in sizes]
        finally:
            read.close()

    def in_order(self, rows_P: np.ndarray) -> Iterator[PairBatch]:
        """Batches of these pairs, as they come."""
        size = self.cfg.batch_size
        return self._read(self._job(rows_P[at : at + size]) for at in range(0, len(rows_P), size))

    def _jobs(self, epoch: int, first_step: int) -> Iterator[Job[PairBatch]]:
        count, world, rank = len(self.pairs.front_P), self.runtime.world, self.runtime.rank
        order_P = permute(np.arange(count), count, permutation_keys(self.cfg.seed, epoch))
        start = 0
        for step, sizes in enumerate(self.steps):
            for size in sizes:
                if step >= first_step:
                    chosen_B = order_P[start + rank * size : start + (rank + 1) * size]
                    yield self._job(chosen_B, share=size / sum(sizes))
                start += size * world

    def _read(self, jobs: Iterable[Job[PairBatch]]) -> Iterator[PairBatch]:
        workers = self.cfg.num_workers
        for batch, wait_s in prefetched(jobs, num_workers=workers, prefetch=AHEAD, timeout_s=self.cfg.data_timeout_s):
            yield replace(batch, wait_s=wait_s)

    def _job(self, rows_B: np.ndarray, *, share: float = 1.0) -> Job[PairBatch]:
        front, video = self.pose_set.front, self.pose_set.video
        fronts_B, videos_B = self.pairs.front_P[rows_B], self.pairs.video_P[rows_B]
        side = self.cfg.image_size
        source, target = (torch.empty(len(rows_B), side, side, 3, dtype=torch.uint8) for _ in range(2))
        batch = PairBatch(
            source,
            target,
            torch.from_numpy(front.pose_N3[fronts_B]).float(),
            torch.from_numpy(video.pose_N3[videos_B]).float(),
            share,
        )

        def fill(slot: int) -> None:
            source.numpy()[slot] = self.pictures.read(front.paths[fronts_B[slot]])
            target.numpy()[slot] = self.pictures.read(video.paths[videos_B[slot]])

        def describe(slot: int) -> str:
            return f"{front.paths[fronts_B[slot]]} or {video.paths[videos_B[slot]]}"

        return Job(batch, len(rows_B), fill, describe)
