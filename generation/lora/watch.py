"""Looks at generated pictures while a run goes on: grids for eyes, and two recognisers that must agree on likeness.

A picture can learn to please the one network that trains it. The second, which it never sees, tells: where the first
one's cosine grows and the second's does not follow, the gap grows, and the run says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from generation.identity.comparison import FaceComparison
from generation.identity.gate import FaceLossDetails
from generation.identity.pictures import GivenPictures
from generation.lora.batches import Batches, keyed_generator
from generation.lora.config import LoraConfig
from generation.lora.pictures import generated, read_picture
from generation.lora.prompts import stacked
from generation.lora.step import LoraStep
from generation.pictures import img01_of, pixels_of
from recognition.collectives import all_gather
from recognition.grid import grid, save_png
from recognition.log import LOG
from recognition.runtime import Runtime
from recognition.training.metrics import MetricsWriter

LOOKING = int.from_bytes(b"look", "big")
FOLDER = "samples"


@dataclass(frozen=True)
class Look:
    """Mean cosines to the references of those pictures in which both find a face, None where a recogniser is missing.

    `gap`: by how much the first finds them more alike.
    """

    faces: int
    train_cos: float | None
    held_out_cos: float | None

    @property
    def gap(self) -> float | None:
        """train_cos - held_out_cos."""
        if self.train_cos is None or self.held_out_cos is None:
            return None
        return self.train_cos - self.held_out_cos


def gap_growth(first: Mapping[str, Any] | None, look: Look) -> float | None:
    """By how much the first recogniser's cosine has gained more than the second's since the `first` look."""
    if first is None or look.gap is None:
        return None
    return look.gap - (first["train_cos"] - first["held_out_cos"])


class Watch:
    """Generates the same samples, from the same noise, at each look; `first` is what the first look found."""

    def __init__(
        self,
        take_step: LoraStep,
        batches: Batches,
        cfg: LoraConfig,
        runtime: Runtime,
        *,
        trained_by: FaceComparison | None,
        held_out: FaceComparison | None,
    ) -> None:
        self.take_step, self.batches, self.cfg, self.runtime = take_step, batches, cfg, runtime
        self.samples = batches.samples
        self.trained_by, self.held_out = trained_by, held_out
        self.first: dict[str, Any] | None = None
        # A gap grows between two looks by the same eyes at the same pictures.
        self.looks_by = [cfg.held_out_recogniser, cfg.monitor_samples, cfg.sample_steps]
        faces = [index for index, sample in enumerate(self.samples.samples) if sample.has_face]
        self.judged = faces[: cfg.monitor_samples] if trained_by or held_out else []
        self.shown = list(range(min(cfg.num_samples, len(self.samples))))

    def recall(self, first: Mapping[str, Any] | None) -> None:
        """Compare with this first look of a run from now on, if it was one like those that are to come."""
        self.first = dict(first) if first and first["looks_by"] == self.looks_by else None

    def is_due(self, done: int, last: int) -> tuple[bool, bool]:
        """Whether pictures are judged, and shown, after so many steps; both at the end, judged at the start, too."""
        every, show = self.cfg.monitor_every, self.cfg.sample_every
        judges = bool(self.judged) and every > 0 and (done % every == 0 or done == last)
        return judges, done == last or (done > 0 and show > 0 and done % show == 0)

    def after_step(self, done: int, last: int, metrics: MetricsWriter, run_dir: Path) -> bool:
        """Judge and show what is due (collective); True where anything was."""
        judges, shows = self.is_due(done, last)
        indices = sorted({*(self.judged if judges else ()), *(self.shown if shows else ())})
        if not indices:
            return False
        self.runtime.at("looking at generated pictures", done)
        pixels = self.generate(indices)
        if self.runtime.is_main and shows:
            self._show({index: pixels[index] for index in self.shown}, done, metrics, run_dir)
        if self.runtime.is_main and judges:
            self._note(self.judge([pixels[index] for index in self.judged]), done, metrics)
        self.runtime.wait_for_all("a look at generated pictures")
        return True

    @torch.no_grad()
    def generate(self, indices: Sequence[int]) -> dict[int, np.ndarray]:
        """Pictures uint8 (S, S, 3) by sample, each from its own noise in `sample_steps` Euler steps; collective."""
        world = self.runtime.world
        each = -(-len(indices) // world)
        padded = [*indices, *[indices[-1]] * (each * world - len(indices))]
        own = padded[self.runtime.rank * each :][:each]
        made_BHWC = torch.stack([self._picture(index) for index in own])
        all_NHWC = all_gather(made_BHWC, self.runtime, what="generated pictures").cpu().numpy()
        return dict(zip(padded, all_NHWC))

    def judge(self, pixels: Sequence[np.ndarray]) -> Look:
        """What both recognisers make of the pictures of `judged`."""
        chosen = [self.samples[index] for index in self.judged]
        refs = self.batches.reference_pictures(chosen).to(self.runtime.device)
        pictures = GivenPictures(torch.stack([img01_of(each) for each in pixels]).to(self.runtime.device))
        ref_keys = [sample.row.ref_image for sample in chosen]
        names = [sample.row.image for sample in chosen] if self.batches.has_picture_keys else None
        seen: list[FaceLossDetails | None] = []
        for recogniser in (self.trained_by, self.held_out):
            if recogniser is None:
                seen.append(None)
                continue
            with torch.no_grad():
                seen.append(recogniser(refs, pictures, ref_keys=ref_keys, gen_keys=names)[1])
        valid_B = torch.stack([details.valid_B.cpu() for details in seen if details is not None]).all(0)
        cosines = [None if details is None else _mean_cosine(details, valid_B) for details in seen]
        return Look(int(valid_B.sum()), *cosines)

    def _picture(self, index: int) -> Tensor:
        sample = self.samples[index]
        shape = self.batches.latents(sample).shape
        device = self.runtime.device
        noise = torch.randn(1, *shape, generator=keyed_generator(LOOKING, self.cfg.seed, index)).to(device)
        predict = partial(self.take_step.predict, stacked([self.batches.prompts(sample.row)]).to(device))
        return generated(predict, self.take_step.models.vae, noise, steps=self.cfg.sample_steps)[0]

    def _show(self, pixels: Mapping[int, np.ndarray], done: int, metrics: MetricsWriter, run_dir: Path) -> None:
        rows = []
        for index, made in pixels.items():
            sample, side = self.samples[index], self.cfg.image_size
            truth = _file_pixels(sample.row.path("image"), side, fills=True)
            has_reference = sample.has_face
            ref = _file_pixels(sample.row.path("ref_image"), side, fills=False) if has_reference else truth * 0
            rows.append([ref, truth, made])
        picture_HWC = grid(rows)
        metrics.show("samples", picture_HWC, done)
        path = run_dir / FOLDER / f"step-{done:08d}.png"
        try:
            save_png(path, picture_HWC)
            LOG.info("step %d  pictures: %s", done, path)
        except OSError as error:
            # A picture to look at is no reason to end the run.
            LOG.warning("no grid of step %d: %s: %s", done, error.strerror, error.filename)

    def _note(self, look: Look, done: int, metrics: MetricsWriter) -> None:
        if self.first is None and look.gap is not None:
            found = {"train_cos": look.train_cos, "held_out_cos": look.held_out_cos}
            self.first = {**found, "looks_by": self.looks_by}
        growth = gap_growth(self.first, look)
        alarm = growth is not None and growth > self.cfg.monitor_gap
        known = {"train_cos": look.train_cos, "held_out_cos": look.held_out_cos, "gap": look.gap, "gap_growth": growth}
        row = {key: value for key, value in known.items() if value is not None}
        metrics.write("monitor", done, faces=look.faces, **row, **({"alarm": 1} if alarm else {}))
        said = ", ".join(f"{key} {value:.3f}" for key, value in row.items()) or "no face found by both"
        LOG.info("step %d  look at %d of %d pictures: %s", done, look.faces, len(self.judged), said)
        if alarm:
            LOG.warning(
                "ALARM step %d: since the first look the recogniser that trains finds pictures %.3f more alike than "
                "the held-out one does (monitor_gap=%g): it is being fooled; lower face_loss_weight, or stop here",
                *(done, growth, self.cfg.monitor_gap),
            )


def _mean_cosine(details: FaceLossDetails, valid_B: Tensor) -> float | None:
    cosines = (1 - details.per_sample_B.cpu())[valid_B]
    return float(cosines.mean()) if len(cosines) else None


def _file_pixels(path: Path, side: int, *, fills: bool) -> np.ndarray:
    return pixels_of(read_picture(path, side, fills=fills)[None])[0].numpy()
