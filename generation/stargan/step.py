"""A step of StarGAN: the discriminator learns from a batch, and at every n-th one the generator learns from it, too."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from generation.identity.face_loss import DifferentiableFaceLoss
from generation.pictures import img11_of
from generation.stargan.batches import AttributeBatch
from generation.stargan.config import StarGANConfig
from generation.stargan.losses import classification_loss, gradient_penalty, keeping_loss, reconstruction_loss
from generation.stargan.networks import StarGANDiscriminator, StarGANGenerator
from recognition.collectives import all_reduce_mean
from recognition.errors import InputError
from recognition.runtime import Runtime
from recognition.training.average import MovingAverage
from recognition.training.gradients import average_gradients
from recognition.training.loss_scale import LossScale
from recognition.training.step import autocast
from recognition.training.vote import NOTHING, Agreed, Vote

MAX_BAD_STEPS = 20
D_LOSSES = ("d_loss", "d_loss_real", "d_loss_fake", "d_loss_cls", "d_loss_gp")
G_LOSSES = ("g_loss", "g_loss_fake", "g_loss_rec", "g_loss_cls", "g_loss_id", "g_loss_keep")


@dataclass(frozen=True)
class Update:
    """What a step of one network came to: its losses by name, means over the pictures of all ranks."""

    losses: Mapping[str, float]
    grad_norm: float
    agreed: Agreed


@dataclass(frozen=True)
class StepOutput:
    """What the discriminator's step came to, and the generator's, where there was one."""

    discriminator: Update
    generator: Update | None

    @property
    def stop(self) -> bool:
        """Whether any rank was asked to stop."""
        return self.discriminator.agreed.stop


class Player:
    """One of the two networks, with its optimizer, its own scale of the loss and its own vote.

    A step with anything that is not finite, on any rank, changes nothing on any of them.
    """

    def __init__(
        self, module: nn.Module, names: tuple[str, ...], runtime: Runtime, *, lr: float, betas: tuple[float, float],
        precision: str,
    ) -> None:  # fmt: skip
        self.module, self.names, self.runtime, self.base_lr = module, names, runtime, lr
        self.optimizer = torch.optim.Adam(module.parameters(), lr=lr, betas=betas, fused=True)
        self.loss_scale = LossScale(precision == "fp16", runtime.device)
        self.vote = Vote(runtime)

    def update(self, losses_L: Tensor, *, lr_factor: float, stop: bool = False) -> Update:
        """Step down `losses_L[0]`, whose parts are the others; collective."""
        parameters = list(self.module.parameters())
        self.optimizer.zero_grad(set_to_none=True)
        self.loss_scale.scaled(losses_L[0]).backward(inputs=parameters)
        average_gradients(parameters, self.runtime)
        means_L = all_reduce_mean(losses_L.detach(), self.runtime, what="losses")
        self.loss_scale.unscale_(parameters)
        norm = torch.linalg.vector_norm(
            torch.stack(torch._foreach_norm([p.grad for p in parameters if p.grad is not None]))
        )
        overflow = ~torch.isfinite(norm)
        is_bad = ~torch.isfinite(means_L).all() | (overflow & ~self.loss_scale.excuses(overflow))
        agreed = self.vote.cast(is_bad=is_bad, overflow=overflow, stop=stop).read()
        if not agreed.is_skipped:
            for group in self.optimizer.param_groups:
                group["lr"] = self.base_lr * lr_factor
            self.optimizer.step()
        self.loss_scale.update(torch.tensor(float(agreed.is_skipped), device=self.runtime.device))
        self.optimizer.zero_grad(set_to_none=True)
        return Update(dict(zip(self.names, means_L.tolist())), norm.item(), agreed)

    def small_tensors(self) -> dict[str, Tensor]:
        """The live tensors beside weights and moments that a resume needs, and writes to."""
        scale = {f"loss_scale.{name}": tensor for name, tensor in self.loss_scale.tensors().items()}
        return scale | {f"vote.{name}": tensor for name, tensor in self.vote.tensors().items()}


class StarGANStep:
    """Holds what changes from step to step: both networks with all that belongs to them, the generator's average."""

    def __init__(
        self,
        generator: StarGANGenerator,
        discriminator: StarGANDiscriminator,
        cfg: StarGANConfig,
        runtime: Runtime,
        *,
        precision: str = "fp32",
        face_loss: DifferentiableFaceLoss | None = None,
    ) -> None:
        self.generator, self.discriminator = generator, discriminator
        self.cfg, self.runtime, self.precision, self.face_loss = cfg, runtime, precision, face_loss
        how = {"betas": (cfg.beta1, cfg.beta2), "precision": precision}
        self.g = Player(generator, G_LOSSES, runtime, lr=cfg.g_lr, **how)
        self.d = Player(discriminator, D_LOSSES, runtime, lr=cfg.d_lr, **how)
        self.average = MovingAverage(generator, cfg.ema_decay)

    def __call__(
        self, batch: AttributeBatch, *, lr_factor: float, with_generator: bool, stop: bool = False
    ) -> StepOutput:
        """Step on a rank's batch at `lr_factor` times the learning rates; collective."""
        self.generator.train()
        self.discriminator.train()
        img11_BCHW = img11_of(batch.images_BHWC, self.runtime.device)
        of_d = self.d.update(self.d_losses(img11_BCHW, batch), lr_factor=lr_factor, stop=stop)
        of_g = None
        if with_generator:
            of_g = self.g.update(self.g_losses(img11_BCHW, batch), lr_factor=lr_factor)
            if not of_g.agreed.is_skipped:
                self.average.update(self.generator)
        return StepOutput(of_d, of_g)

    def d_losses(self, img11_BCHW: Tensor, batch: AttributeBatch) -> Tensor:
        """D_LOSSES of a rank's batch: real pictures score high, those made low (arXiv:1711.09020, eqs. 5 and 8)."""
        cfg, labels_BA, targets_BA = self.cfg, *self._attributes(batch)
        with autocast(self.precision, self.runtime.device):
            with torch.no_grad():
                made_BCHW = self.generator(img11_BCHW, targets_BA)
            real_B1HW, logits_BA = self.discriminator(img11_BCHW)
            fake_B1HW, _ = self.discriminator(made_BCHW)
        real, fake = -real_B1HW.float().mean(), fake_B1HW.float().mean()
        of_classes = classification_loss(logits_BA, labels_BA)
        penalty = gradient_penalty(self.discriminator, img11_BCHW, made_BCHW, batch.shares_B)
        loss = real + fake + cfg.lambda_cls * of_classes + cfg.lambda_gp * penalty
        return torch.stack([loss, real, fake, of_classes, penalty])

    def g_losses(self, img11_BCHW: Tensor, batch: AttributeBatch) -> Tensor:
        """G_LOSSES of a rank's batch: real to the discriminator, with the target's attributes, and undone again."""
        cfg, labels_BA, targets_BA = self.cfg, *self._attributes(batch)
        with autocast(self.precision, self.runtime.device):
            made_BCHW = self.generator(img11_BCHW, targets_BA)
            fake_B1HW, logits_BA = self.discriminator(made_BCHW)
            back_BCHW = self.generator(made_BCHW, labels_BA)
        fake, back = -fake_B1HW.float().mean(), reconstruction_loss(back_BCHW, img11_BCHW)
        of_classes = classification_loss(logits_BA, targets_BA)
        identity = fake.new_zeros(())
        if self.face_loss is not None:
            identity = self.face_loss((img11_BCHW + 1) / 2, (made_BCHW.float() + 1) / 2).to(fake)
        keep = fake.new_zeros(())
        if batch.keep_B1HW is not None:
            keep = keeping_loss(made_BCHW, img11_BCHW, batch.keep_B1HW.to(img11_BCHW.device))
        loss = fake + cfg.lambda_rec * back + cfg.lambda_cls * of_classes
        loss = loss + cfg.lambda_id * identity + cfg.lambda_keep * keep
        return torch.stack([loss, fake, back, of_classes, identity, keep])

    def require_good(self) -> None:
        """InputError after too many steps in a row that were not finite."""
        for player, rate in ((self.d, "--d_lr"), (self.g, "--g_lr")):
            if (row := player.vote.longest_row()) >= MAX_BAD_STEPS:
                raise InputError(
                    f"{row} steps in a row were not finite; they changed nothing, and the last checkpoint is kept. "
                    f"Lower {rate} ({player.base_lr}), or use --amp_dtype bf16 in place of fp16"
                )

    def _attributes(self, batch: AttributeBatch) -> tuple[Tensor, Tensor]:
        device = self.runtime.device
        return batch.labels_BA.to(device), batch.targets_BA.to(device)


def skipped(output: StepOutput) -> Agreed:
    """The vote of the first network whose step changed nothing, if any."""
    updates = (output.discriminator, output.generator)
    return next((each.agreed for each in updates if each is not None and each.agreed.is_skipped), NOTHING)
