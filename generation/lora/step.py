"""One optimizer step of the adapter: flow-matching loss, identity loss, mean gradients of all ranks, a vote, update."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from generation.identity.flow import flow_loss, noised, unrolled_estimate
from generation.identity.wrappers import DifferentiableFaceLossWrapper
from generation.lora.adapter import adapter_parameters
from generation.lora.batches import LoraBatch, face_weight
from generation.lora.config import LoraConfig
from generation.lora.families import Prompts
from generation.lora.models import Models
from recognition.collectives import all_reduce_mean
from recognition.errors import InputError
from recognition.runtime import Runtime
from recognition.training.gradients import average_gradients
from recognition.training.loss_scale import LossScale
from recognition.training.optimizer import fused_optimizer, set_learning_rate
from recognition.training.step import autocast
from recognition.training.vote import Agreed, Vote


@dataclass(frozen=True)
class StepOutput:
    """What a step of all ranks came to.

    `face_loss`: the weighted mean over samples that are asked for one; `face_cos`: the plain mean cosine over those
    whose face was found, `faces` their number; None where there was none.
    """

    loss: float
    flow_loss: float
    grad_norm: float
    agreed: Agreed
    face_loss: float | None = None
    face_cos: float | None = None
    faces: int = 0
    asked: int = 0


class LoraStep:
    """Holds what changes from step to step: the adapter, its optimizer, the loss scale, the vote.

    A step with anything that is not finite, on any rank, changes nothing on any of them. The gradients of all ranks
    are averaged by one collective, in one order, so that a resume sums them as a run that was not interrupted.
    """

    def __init__(
        self,
        models: Models,
        cfg: LoraConfig,
        runtime: Runtime,
        *,
        face_loss: DifferentiableFaceLossWrapper | None = None,
    ) -> None:
        self.models, self.cfg, self.runtime, self.face_loss = models, cfg, runtime, face_loss
        self.parameters = adapter_parameters(models.transformer)
        group = {"params": list(self.parameters.values()), "weight_decay": cfg.weight_decay, "lr_factor": 1.0}
        self.optimizer = fused_optimizer([group], cfg.optimizer, lr=cfg.lr, momentum=cfg.momentum)
        self.loss_scale = LossScale(cfg.precision == "fp16", runtime.device)
        self.vote = Vote(runtime)
        if cfg.gradient_checkpointing:
            models.transformer.enable_gradient_checkpointing()

    def predict(self, prompts: Prompts, x_BCHW: Tensor, t_B: Tensor) -> Tensor:
        """The predicted velocity, float32 (B, C, H, W)."""
        family, transformer = self.models.family, self.models.transformer
        with autocast(self.cfg.precision, self.runtime.device):
            return family.velocity(transformer, x_BCHW, t_B, prompts, guidance=self.cfg.guidance_scale).float()

    def __call__(
        self, batches: Sequence[LoraBatch], *, step: int, lr: float, stop: bool = False, save: bool = False
    ) -> StepOutput:
        """Step over `batches` (one per accumulation) at rate `lr`; collective.

        The gradient is that of flow loss, the mean over all samples of the step, plus face_loss_weight times the sum of
        weighted distances over `num_asked`, the samples of the step that have a face loss: one whose face is not found
        counts 0 there, and leaves the others as they are.
        """
        sums = torch.zeros(4, device=self.runtime.device)  # flow loss, face loss, cosines, faces
        for batch in batches:
            self.runtime.at("forward", step)
            loss, parts = self._losses(batch, len(batches))
            self.loss_scale.scaled(loss).backward()
            sums += parts
        average_gradients(self.parameters.values(), self.runtime)
        flow, face, cosines, faces = all_reduce_mean(sums, self.runtime, what="losses").tolist()
        loss, asked = flow + self.cfg.face_loss_weight * face, batches[0].num_asked if self.face_loss else 0
        norm = self._clip()
        agreed = self._agree(torch.tensor(loss, device=self.runtime.device), norm, stop, save)
        if not agreed.is_skipped:
            set_learning_rate(self.optimizer, lr)
            self.optimizer.step()
        self.loss_scale.update(torch.tensor(float(agreed.is_skipped), device=self.runtime.device))
        self.optimizer.zero_grad(set_to_none=True)
        faces = round(faces * self.runtime.world)
        return StepOutput(
            loss,
            flow,
            norm.item(),
            agreed,
            face_loss=face if asked else None,
            face_cos=cosines * self.runtime.world / faces if faces else None,
            faces=faces,
            asked=asked,
        )

    def require_good(self, step: int) -> None:
        """InputError after too many steps in a row that were not finite."""
        if (row := self.vote.longest_row()) >= self.cfg.max_bad_steps:
            raise InputError(
                f"{row} steps in a row up to step {step + 1} were not finite; they changed nothing, and the last "
                f"checkpoint is kept. Lower lr ({self.cfg.lr}) or face_loss_weight, lengthen warmup_steps, or use "
                "precision=bf16 in place of fp16"
            )

    def _losses(self, batch: LoraBatch, num_parts: int) -> tuple[Tensor, Tensor]:
        """This rank's share in the step's loss, times the number of ranks; and of what is logged, likewise."""
        device = self.runtime.device
        x0, x1, t_B = (part.to(device) for part in (batch.x0_BCHW, batch.noise_BCHW, batch.t_B))
        predict = partial(self.predict, batch.prompts.to(device))
        x_t = noised(x0, x1, t_B)
        pred = predict(x_t, t_B)
        flow = flow_loss(pred, x0, x1) / num_parts
        zero = flow.new_zeros(())
        if self.face_loss is None or not batch.num_asked:
            return flow, torch.stack([flow.detach(), zero, zero, zero])
        # At weight 0 it is computed for the log alone.
        with torch.set_grad_enabled(self.cfg.face_loss_weight > 0):
            x0_hat = unrolled_estimate(predict, x_t, t_B, steps=self.cfg.unrolled_steps, pred=pred)
            mean, details = self.face_loss(
                batch.ref_img01_BCHW,
                x0_hat,
                batch.data_type,
                batch.ref_keys,
                True,
                gen_keys=batch.picture_keys,
                weight_B=face_weight(t_B, self.cfg),
            )
            # The loss is the mean over this batch's faces; the step's is over those of all ranks and micro-steps.
            faces = details.valid_B.sum().to(mean)
            face = mean * faces * (self.runtime.world / batch.num_asked)
        cosines = (1 - details.per_sample_B)[details.valid_B].sum().to(flow)
        logged = torch.stack([flow.detach(), face.detach().to(flow), cosines, faces.to(flow)])
        return flow + self.cfg.face_loss_weight * face if self.cfg.face_loss_weight > 0 else flow, logged

    def _clip(self) -> Tensor:
        self.loss_scale.unscale_(self.parameters.values())
        return nn.utils.clip_grad_norm_(self.parameters.values(), self.cfg.max_grad_norm or float("inf"))

    def _agree(self, loss: Tensor, norm: Tensor, stop: bool, save: bool) -> Agreed:
        overflow = ~torch.isfinite(norm)
        is_bad = ~torch.isfinite(loss) | (overflow & ~self.loss_scale.excuses(overflow))
        return self.vote.cast(is_bad=is_bad, overflow=overflow, stop=stop, save=save).read()
