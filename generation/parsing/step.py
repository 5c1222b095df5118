"""A step of a parser: down the loss of the hard pixels, the same on all ranks."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from generation.parsing.batches import MaskBatch
from generation.parsing.bisenet import BiSeNet
from generation.parsing.config import ParsingConfig
from generation.parsing.losses import parsing_loss
from recognition.collectives import all_reduce_mean
from recognition.errors import InputError
from recognition.runtime import Runtime
from recognition.training.gradients import average_buffers, average_gradients
from recognition.training.loss_scale import LossScale
from recognition.training.step import autocast
from recognition.training.vote import Agreed, Vote

MAX_BAD_STEPS = 20


class StepOutput(NamedTuple):
    """The loss, a mean over all ranks, the norm of the gradient, and what the ranks agreed on."""

    loss: float
    grad_norm: float
    agreed: Agreed


class ParsingStep:
    """Holds what changes from step to step: the network, the optimizer, the scale of the loss and the vote."""

    def __init__(self, net: BiSeNet, cfg: ParsingConfig, runtime: Runtime, *, precision: str = "fp32") -> None:
        self.net, self.cfg, self.runtime, self.precision = net, cfg, runtime, precision
        groups = parameter_groups(net, cfg)
        self.optimizer: torch.optim.Optimizer
        if cfg.optimizer == "adamw":
            self.optimizer = torch.optim.AdamW(groups, lr=cfg.lr, betas=(cfg.momentum, 0.999))
        else:
            self.optimizer = torch.optim.SGD(groups, lr=cfg.lr, momentum=cfg.momentum)
        self.loss_scale = LossScale(precision == "fp16", runtime.device)
        self.vote = Vote(runtime)

    def __call__(self, batch: MaskBatch, *, lr_factor: float, stop: bool = False) -> StepOutput:
        """Step on a rank's batch; collective. What is not finite on any rank changes nothing on any of them."""
        self.net.train()
        device, parameters = self.runtime.device, list(self.net.parameters())
        img01_BCHW = batch.images_BHWC.to(device, non_blocking=True).permute(0, 3, 1, 2).float() / 255
        before = {name: buffer.clone() for name, buffer in self.net.named_buffers()}
        with autocast(self.precision, device):
            logits = self.net(img01_BCHW)
        loss = parsing_loss(logits, batch.masks_BHW.to(device, non_blocking=True))
        self.optimizer.zero_grad(set_to_none=True)
        self.loss_scale.scaled(loss).backward()
        average_gradients(parameters, self.runtime)
        average_buffers(self.net, self.runtime)  # at each step: a checkpoint, which one rank writes, is exact at any
        mean = all_reduce_mean(loss.detach()[None], self.runtime, what="losses")[0]
        self.loss_scale.unscale_(parameters)
        norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm([p.grad for p in parameters])))
        overflow = ~torch.isfinite(norm)
        is_bad = ~torch.isfinite(mean) | (overflow & ~self.loss_scale.excuses(overflow))
        agreed = self.vote.cast(is_bad=is_bad, overflow=overflow, stop=stop).read()
        if agreed.is_skipped:
            for name, buffer in self.net.named_buffers():  # running statistics have taken the step in already
                buffer.copy_(before[name])
        else:
            for group in self.optimizer.param_groups:
                group["lr"] = self.cfg.lr * group["factor"] * lr_factor
            self.optimizer.step()
        self.loss_scale.update(torch.tensor(float(agreed.is_skipped), device=device))
        return StepOutput(mean.item(), norm.item(), agreed)

    def require_good(self) -> None:
        """InputError after too many steps in a row that were not finite."""
        if (row := self.vote.longest_row()) >= MAX_BAD_STEPS:
            raise InputError(
                f"{row} steps in a row were not finite; they changed nothing, and the last checkpoint is kept. "
                f"Lower --lr ({self.cfg.lr}), or use --amp_dtype bf16 in place of fp16"
            )

    def small_tensors(self) -> dict[str, Tensor]:
        """The live tensors beside weights and moments that a resume needs, and writes to."""
        scale = {f"loss_scale.{name}": tensor for name, tensor in self.loss_scale.tensors().items()}
        return scale | {f"vote.{name}": tensor for name, tensor in self.vote.tensors().items()}


def parameter_groups(net: BiSeNet, cfg: ParsingConfig) -> list[dict]:
    """Weights of convolutions decay, those of batch norms do not; the fusion and the heads learn faster."""
    groups: dict[tuple[float, float], list[torch.nn.Parameter]] = {}
    for name, parameter in net.named_parameters():
        factor = 1.0 if name.startswith("cp.") else cfg.head_lr_factor
        decay = cfg.weight_decay if parameter.ndim > 1 else 0.0
        groups.setdefault((factor, decay), []).append(parameter)
    return [{"params": params, "factor": key[0], "weight_decay": key[1]} for key, params in groups.items()]
