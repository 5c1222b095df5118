"""What a step sees: samples, times and noise, all a pure function of (seed, position in the stream of samples).

So a resume is exact without any random state, and a step sees the same however many ranks and micro-steps share it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from generation.identity.flow import sample_t, time_weight
from generation.lora.cache import Cache
from generation.lora.config import LoraConfig
from generation.lora.faces import References
from generation.lora.families import Prompts
from generation.lora.pictures import read_picture
from generation.lora.prompts import PromptReader, stacked
from generation.lora.samples import KIND, Sample, Samples
from recognition.data.order import batch_positions, sample_ids
from recognition.errors import InputError
from recognition.permutation import permutation_keys
from recognition.runtime import Runtime
from recognition.training.plan import Plan

# Apart from each other, and from the keys of the order, which are (seed, epoch).
TRAINING = int.from_bytes(b"lora", "big")
AHEAD = 2  # micro-steps that are read while one is computed


@dataclass(frozen=True, eq=False)
class LoraBatch:
    """One rank's samples of a micro-step, on the CPU; `num_asked`: of the whole step, how many have a face loss."""

    positions_B: np.ndarray
    x0_BCHW: Tensor
    noise_BCHW: Tensor
    t_B: Tensor
    prompts: Prompts
    data_type: list[str]
    ref_img01_BCHW: Tensor | None
    ref_keys: list[str]
    picture_keys: list[str] | None
    num_asked: int
    wait_s: float = 0.0


def drawn(position: int, shape: tuple[int, ...], cfg: LoraConfig) -> tuple[Tensor, Tensor]:
    """Time () and noise of `shape`, float32, of a position; the same on any machine."""
    generator = keyed_generator(TRAINING, cfg.seed, position)
    t_1 = sample_t(1, mean=cfg.t_mean, std=cfg.t_std, generator=generator)
    return t_1[0], torch.randn(shape, generator=generator)


def keyed_generator(*words: int) -> torch.Generator:
    """A generator on the CPU whose numbers depend on these words alone."""
    return torch.Generator().manual_seed(int(permutation_keys(*words)[0] >> np.uint64(1)))


class Batches:
    """The micro-steps of the steps that are left, read a little ahead by a thread; its errors surface in the step."""

    def __init__(
        self,
        samples: Samples,
        cfg: LoraConfig,
        plan: Plan,
        runtime: Runtime,
        *,
        cache: Cache,
        prompts: PromptReader,
        references: References | None,
    ) -> None:
        self.samples, self.cfg, self.plan, self.runtime = samples, cfg, plan, runtime
        self.cache, self.prompts, self.references = cache, prompts, references
        named = [sample.row.image for sample in samples.samples if sample.has_face]
        self.has_picture_keys = references is not None and references.picture_keys(named) is not None

    def __iter__(self) -> Iterator[list[LoraBatch]]:
        """The micro-steps of each step."""
        parts = [(step, part) for step in range(self.plan.first, self.plan.last) for part in self._parts]
        ahead, thread = [], ThreadPoolExecutor(1)
        try:
            group: list[LoraBatch] = []
            for place in range(len(parts) + AHEAD):
                if place < len(parts):
                    ahead.append(thread.submit(self.micro_step, *parts[place]))
                if place < AHEAD:
                    continue
                started = time.perf_counter()
                batch = ahead.pop(0).result()
                group.append(replace(batch, wait_s=time.perf_counter() - started))
                if len(group) == len(self._parts):
                    yield group
                    group = []
        finally:
            thread.shutdown(cancel_futures=True)

    @property
    def _parts(self) -> range:
        return range(self.cfg.gradient_acc)

    def micro_step(self, step: int, part: int) -> LoraBatch:
        """This rank's samples of one micro-step."""
        positions_B = batch_positions(
            (step - self.plan.first) * self.cfg.gradient_acc + part,
            batch_size=self.cfg.batch_size,
            rank=self.runtime.rank,
            world=self.runtime.world,
            start=self.plan.samples,
        )
        samples = self._at(positions_B)
        latents = [self.latents(sample) for sample in samples]
        draws = [drawn(int(position), tuple(x0_CHW.shape), self.cfg) for position, x0_CHW in zip(positions_B, latents)]
        return LoraBatch(
            positions_B,
            torch.stack(latents),
            torch.stack([noise for _, noise in draws]),
            torch.stack([t for t, _ in draws]),
            stacked([self.prompts(sample.row) for sample in samples]),
            # Without a reference that shows a face there is nothing to compare with.
            [sample.row.data_type if sample.has_face else "" for sample in samples],
            self.reference_pictures(samples),
            [sample.row.ref_image or sample.row.image for sample in samples],
            [sample.row.image for sample in samples] if self.has_picture_keys else None,
            self.num_asked(step),
        )

    def num_asked(self, step: int) -> int:
        """How many samples of a step, on all ranks, have a face loss by their kind, their reference and their time."""
        start = self.plan.samples + (step - self.plan.first) * self.plan.samples_a_step
        positions_G = np.arange(start, start + self.plan.samples_a_step)
        t_G = torch.stack([drawn(int(position), (0,), self.cfg)[0] for position in positions_G])
        weight_G = face_weight(t_G, self.cfg)
        return sum(sample.has_face and bool(weight) for sample, weight in zip(self._at(positions_G), weight_G))

    def reference_pictures(self, samples: list[Sample]) -> Tensor | None:
        """Their references, img01 (B, 3, S, S), black where a sample has none; None where none is wanted at all."""
        if self.references is None:
            return None
        side = self.cfg.image_size
        black = torch.zeros(3, side, side)
        return torch.stack(
            [read_picture(s.row.path("ref_image"), side, fills=False) if s.has_face else black for s in samples]
        )

    def _at(self, positions: np.ndarray) -> list[Sample]:
        ids = sample_ids(positions, num_samples=len(self.samples), seed=self.cfg.seed)
        return [self.samples[int(index)] for index in ids]

    def latents(self, sample: Sample) -> Tensor:
        """A sample's latents (C, H, W) from the cache; InputError where it has lost them."""
        found = self.cache.get(KIND, sample.latents_key)
        if found is None:
            raise InputError(
                f"{self.cache.folder} has lost the latents of {sample.row.where}; start the run again, and let nothing "
                "clear that folder"
            )
        return found["latents"]


def face_weight(t_B: Tensor, cfg: LoraConfig) -> Tensor:
    """Weight of the face loss at these times, (B,)."""
    return time_weight(t_B, max_t=cfg.face_max_t, power=cfg.face_weight_over_t)
