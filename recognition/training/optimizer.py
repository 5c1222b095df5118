"""The optimizers: one over the backbone, one over the rows of class centres that a step touches."""

from __future__ import annotations

import itertools

import torch
from torch import nn

from recognition.config import TrainConfig
from recognition.head.rows import RowAdamW, RowOptimizer, RowSGD


def decayed_and_free(module: nn.Module) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """Trainable parameters that weight decay applies to, and the vectors (norms, biases, PReLU slopes) it spares."""
    trainable = [parameter for parameter in module.parameters() if parameter.requires_grad]
    return [p for p in trainable if p.ndim > 1], [p for p in trainable if p.ndim <= 1]


def build_optimizer(backbone: nn.Module, head: nn.Module, cfg: TrainConfig) -> torch.optim.Optimizer:
    """SGD or AdamW with the update of all tensors fused into one kernel, which skips it where `found_inf` says so.

    The head's parameters are those of its objective, if any; class centres are updated by the head.
    """
    decayed, free = decayed_and_free(backbone)
    groups = [
        {"params": decayed, "weight_decay": cfg.weight_decay},
        {"params": free, "weight_decay": cfg.weight_decay if cfg.decay_norms else 0.0},
        {"params": list(head.parameters()), "weight_decay": 0.0},
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


def build_row_optimizer(cfg: TrainConfig) -> RowOptimizer:
    """The same optimizer for class centres; these are always decayed."""
    if cfg.optimizer == "adamw":
        return RowAdamW(weight_decay=cfg.weight_decay)
    return RowSGD(momentum=cfg.momentum, weight_decay=cfg.weight_decay, lazy=cfg.lazy)
