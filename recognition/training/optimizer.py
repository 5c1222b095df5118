"""Optimizer over backbone and head, and the gradient scaler whose verdict all ranks share."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.fsdp.sharded_grad_scaler import ShardedGradScaler

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
    return torch.optim.SGD(groups, lr=cfg.lr, momentum=cfg.momentum, fused=True)


def build_scaler(cfg: TrainConfig, runtime: Runtime) -> torch.amp.GradScaler:
    """Loss scaler for fp16, a no-op otherwise.

    The head's gradients live on one rank only. An overflow there must skip the step on every rank, or the backbone
    replicas part for good: hence the scaler that sums the overflow flag over the ranks.
    """
    enabled = cfg.precision_used == "fp16"
    if enabled and runtime.world > 1:
        return ShardedGradScaler(runtime.device.type, growth_interval=100, process_group=dist.group.WORLD)
    return torch.amp.GradScaler(runtime.device.type, growth_interval=100, enabled=enabled)
