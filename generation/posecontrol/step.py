"""One optimizer step: picture, pose and identity losses, mean gradients of all ranks, a vote, clipping, update."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from generation.identity.face_loss import DifferentiableFaceLoss
from generation.pictures import img11_of
from generation.posecontrol.batches import PairBatch
from generation.posecontrol.config import PoseControlConfig
from generation.posecontrol.control_net import ImageControlNet, Posed
from generation.posecontrol.losses import image_loss, pose_loss
from recognition.collectives import all_reduce_mean
from recognition.errors import InputError
from recognition.runtime import Runtime
from recognition.training.gradients import average_buffers, average_gradients
from recognition.training.loss_scale import LossScale
from recognition.training.optimizer import fused_optimizer, set_learning_rate
from recognition.training.step import autocast
from recognition.training.vote import Agreed, Vote

MAX_GRAD_NORM, MAX_BAD_STEPS = 1.0, 20


@dataclass(frozen=True)
class Losses:
    """Means over the pairs of all ranks: the sum that is trained, and its parts before their weights."""

    loss: float
    image_loss: float
    pose_loss: float
    identity_loss: float


@dataclass(frozen=True)
class StepOutput:
    """What a step of all ranks came to."""

    losses: Losses
    grad_norm: float
    agreed: Agreed


class PoseControlStep:
    """Holds what changes from step to step: the model, its optimizer, the loss scale, the vote.

    A step with anything that is not finite, on any rank, changes nothing on any of them.
    """

    def __init__(
        self,
        model: ImageControlNet,
        cfg: PoseControlConfig,
        runtime: Runtime,
        *,
        precision: str = "fp32",
        face_loss: DifferentiableFaceLoss | None = None,
    ) -> None:
        self.model, self.cfg, self.runtime, self.precision = model, cfg, runtime, precision
        self.face_loss = face_loss
        self.parameters = trainable(model, reconstruct=cfg.reconstruct)
        group = {"params": list(self.parameters.values()), "weight_decay": cfg.weight_decay, "lr_factor": 1.0}
        self.optimizer = fused_optimizer([group], "adamw", lr=cfg.lr)
        self.loss_scale = LossScale(precision == "fp16", runtime.device)
        self.vote = Vote(runtime)

    def __call__(self, batches: Sequence[PairBatch], *, lr: float, stop: bool = False) -> StepOutput:
        """Step over `batches`, one for each pass, at rate `lr`; collective.

        The gradient is that of the mean over all pairs of the step, however they are shared among passes and ranks.
        """
        self.model.train()
        parts_4 = torch.zeros(4, device=self.runtime.device)
        for batch in batches:
            losses_4 = self.losses(batch) * batch.share
            self.loss_scale.scaled(losses_4[0]).backward()
            parts_4 += losses_4.detach()
        average_gradients(self.parameters.values(), self.runtime)
        average_buffers(self.model, self.runtime)
        losses = Losses(*all_reduce_mean(parts_4, self.runtime, what="losses").tolist())
        self.loss_scale.unscale_(self.parameters.values())
        norm = nn.utils.clip_grad_norm_(self.parameters.values(), MAX_GRAD_NORM)
        agreed = self._agree(losses.loss, norm, stop)
        if not agreed.is_skipped:
            set_learning_rate(self.optimizer, lr)
            self.optimizer.step()
        self.loss_scale.update(torch.tensor(float(agreed.is_skipped), device=self.runtime.device))
        self.optimizer.zero_grad(set_to_none=True)
        return StepOutput(losses, norm.item(), agreed)

    def losses(self, batch: PairBatch) -> Tensor:
        """(4,) the loss of a rank's pairs, and its parts: picture, pose, identity."""
        made, target_BCHW = self.generated(batch)
        image = image_loss(made.image_BCHW, target_BCHW, self.cfg.loss_type, l1_weight=self.cfg.l1_weight)
        pose = pose_loss(made.source_pose_BP, batch.source_pose_B3.to(image.device), self.cfg.pose_loss)
        identity = image.new_zeros(())
        if self.face_loss is not None:
            identity = self.face_loss((target_BCHW + 1) / 2, (made.image_BCHW + 1) / 2).to(image)
        loss = image + self.cfg.pose_loss_weight * pose + self.cfg.identity_loss_weight * identity
        return torch.stack([loss, image, pose, identity])

    def generated(self, batch: PairBatch) -> tuple[Posed, Tensor]:
        """The pictures made, float32, and those that they should be, in [-1, 1]."""
        device = self.runtime.device
        source_BCHW = img11_of(batch.source_BHWC, device)
        with autocast(self.precision, device):
            if self.cfg.reconstruct:
                return self.model.reconstruct(source_BCHW), source_BCHW
            made = self.model(source_BCHW, batch.target_pose_B3.to(device))
        return made, img11_of(batch.target_BHWC, device)

    def require_good(self) -> None:
        """InputError after too many steps in a row that were not finite."""
        if (row := self.vote.longest_row()) >= MAX_BAD_STEPS:
            raise InputError(
                f"{row} steps in a row were not finite; they changed nothing, and the last checkpoint is kept. Lower "
                f"--lr ({self.cfg.lr}), or use --amp_dtype bf16 in place of fp16"
            )

    def _agree(self, loss: float, norm: Tensor, stop: bool) -> Agreed:
        overflow = ~torch.isfinite(norm)
        is_bad = ~torch.isfinite(torch.tensor(loss, device=norm.device))
        is_bad = is_bad | (overflow & ~self.loss_scale.excuses(overflow))
        return self.vote.cast(is_bad=is_bad, overflow=overflow, stop=stop).read()


def trainable(model: ImageControlNet, *, reconstruct: bool) -> dict[str, nn.Parameter]:
    """The parameters that are trained, by name; without control those of the control branch are not."""
    named = ((name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad)
    return {name: parameter for name, parameter in named if not (reconstruct and name.startswith("control."))}
