"""Optimizer over backbone and head, and the gradient scaler whose verdict all ranks share."""

from __future__ import annotations

import itertools

import torch
from torch import nn

from recognition.collectives import all_reduce_max
from recognition.config import TrainConfig
from recognition.runtime import Runtime


def decayed_and_free(module: nn.Module) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """Trainable parameters that weight decay applies to, and the vectors (norms, biases, PReLU slopes) it spares."""
    trainable = [parameter for parameter in module.parameters() if parameter.requires_grad]
    return [p for p in trainable if p.ndim > 1], [p for p in trainable if p.ndim <= 1]


def build_optimizer(backbone: nn.Module, head: nn.Module, cfg: TrainConfig) -> torch.optim.Optimizer:
    """SGD or AdamW with the update of all tensors fused into one kernel; class centres are always decayed."""
    decayed, free = decayed_and_free(backbone)
    groups = [
        {"params": decayed, "weight_decay": cfg.weight_decay},
        {"params": free, "weight_decay": cfg.weight_decay if cfg.decay_norms else 0.0},
        {"params": [p for p in head.parameters() if p.numel()], "weight_decay": cfg.weight_decay},
    ]
    groups = [group for group in groups if group["params"]]
    if cfg.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=cfg.lr, fused=True)
    sgd = torch.optim.SGD(groups, lr=cfg.lr, momentum=cfg.momentum, fused=True)
    if cfg.momentum > 0:
        # torch 2.13 leaves the buffers of fused SGD uninitialised when the scaler skips the very first step.
        for parameter in itertools.chain.from_iterable(group["params"] for group in groups):
            sgd.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
    return sgd


class AgreedScaler(torch.amp.GradScaler):
    """Loss scaler whose overflow flag is the maximum over all ranks.

    The head's gradients live on one rank only. An overflow there must skip the step on every rank, or the backbone
    replicas part for good. torch's ShardedGradScaler sums the flags instead, and fused optimizers take a sum of 2 for
    "no overflow" (torch 2.13).
    """

    def __init__(self, runtime: Runtime, *, enabled: bool) -> None:
        super().__init__(runtime.device.type, growth_interval=100, enabled=enabled)
        self.runtime = runtime

    def unscale_(self, optimizer: torch.optim.Optimizer) -> None:
        """Divide the gradients by the scale and agree on whether one of them overflowed."""
        super().unscale_(optimizer)
        if self.is_enabled():
            for flag in self._per_optimizer_states[id(optimizer)]["found_inf_per_device"].values():
                flag.copy_(all_reduce_max(flag, self.runtime))


def build_scaler(cfg: TrainConfig, runtime: Runtime) -> torch.amp.GradScaler:
    """Loss scaler for fp16, a no-op otherwise."""
    return AgreedScaler(runtime, enabled=cfg.precision_used == "fp16")
