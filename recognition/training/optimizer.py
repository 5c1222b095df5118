"""The optimizers: one over the backbone, one over the rows of class centres that a step touches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import nn

from recognition.config import TrainConfig
from recognition.head.rows import RowAdamW, RowOptimizer, RowSGD
from recognition.training.parts import HEAD, head_lr_factor, lr_factor, parse_lr_factors, require_parts


def parameter_groups(backbone: nn.Module, head: nn.Module, cfg: TrainConfig) -> list[dict[str, Any]]:
    """Trainable parameters by weight decay and learning rate factor, each group with its `lr_factor`.

    Weight decay spares vectors (norms, biases, PReLU slopes) unless `decay_norms` is set, and the objective's
    parameters always. InputError where `lr_factors` names a part that the backbone does not have.
    """
    factors = parse_lr_factors(cfg.lr_factors)
    require_parts((part for part in factors if part != HEAD), backbone, "lr_factors")
    free_decay = cfg.weight_decay if cfg.decay_norms else 0.0
    groups = [
        *_by_factor(backbone, factors, is_vector=False, weight_decay=cfg.weight_decay),
        *_by_factor(backbone, factors, is_vector=True, weight_decay=free_decay),
        {"params": list(head.parameters()), "weight_decay": 0.0, "lr_factor": head_lr_factor(factors)},
    ]
    return [group for group in groups if group["params"]]


def build_optimizer(backbone: nn.Module, head: nn.Module, cfg: TrainConfig) -> torch.optim.Optimizer:
    """SGD or AdamW with the update of all tensors fused into one kernel, which skips it where `found_inf` says so.

    The head's parameters are those of its objective, if any; class centres are updated by the head. What is frozen has
    no place in it, and where nothing else is left it has no parameters.
    """
    groups = parameter_groups(backbone, head, cfg) or [{"params": [], "lr_factor": 1.0}]
    return fused_optimizer(groups, cfg.optimizer, lr=cfg.lr, momentum=cfg.momentum)


def fused_optimizer(
    groups: list[dict[str, Any]], name: str, *, lr: float, momentum: float = 0.0
) -> torch.optim.Optimizer:
    """`sgd` or `adamw` over these groups, with all that it will remember of them in place from the start."""
    if name == "adamw":
        adamw = torch.optim.AdamW(groups, lr=lr, fused=True)
        # What its first step would make: a run may be stored, and gone on with, before any step counted.
        for parameter in (parameter for group in groups for parameter in group["params"]):
            adamw.state[parameter] = {
                "step": torch.zeros((), dtype=torch.float32, device=parameter.device),
                "exp_avg": torch.zeros_like(parameter),
                "exp_avg_sq": torch.zeros_like(parameter),
            }
        return adamw
    sgd = torch.optim.SGD(groups, lr=lr, momentum=momentum, fused=True)
    if momentum > 0:
        # torch 2.13 leaves the buffers of fused SGD uninitialised when the scaler skips the very first step.
        for group in groups:
            for parameter in group["params"]:
                sgd.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
    return sgd


def rebuilt_optimizer(
    optimizer: torch.optim.Optimizer, backbone: nn.Module, head: nn.Module, cfg: TrainConfig
) -> torch.optim.Optimizer:
    """The optimizer over what trains now; parameters that `optimizer` had keep what it remembers of them.

    Its groups are those that `build_optimizer` makes, whatever was frozen before, so that a resumed run has the same.
    """
    rebuilt = build_optimizer(backbone, head, cfg)
    for group in rebuilt.param_groups:
        for parameter in group["params"]:
            if parameter in optimizer.state:
                rebuilt.state[parameter] = optimizer.state[parameter]
    return rebuilt


def set_learning_rate(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Give every group its share of the run's learning rate."""
    for group in optimizer.param_groups:
        group["lr"] = lr * group["lr_factor"]


def build_row_optimizer(cfg: TrainConfig) -> RowOptimizer:
    """The same optimizer for class centres; these are always decayed."""
    if cfg.optimizer == "adamw":
        return RowAdamW(weight_decay=cfg.weight_decay)
    return RowSGD(momentum=cfg.momentum, weight_decay=cfg.weight_decay, lazy=cfg.lazy)


def _by_factor(
    backbone: nn.Module, factors: Mapping[str, float], *, is_vector: bool, weight_decay: float
) -> Iterator[dict[str, Any]]:
    """A group for each factor that trainable vectors, or the other parameters, have, in the order of the network."""
    by_factor: dict[float, list[nn.Parameter]] = {}
    for name, parameter in backbone.named_parameters():
        if parameter.requires_grad and (parameter.ndim <= 1) == is_vector:
            by_factor.setdefault(lr_factor(name, factors), []).append(parameter)
    for factor, parameters in by_factor.items():
        yield {"params": parameters, "weight_decay": weight_decay, "lr_factor": factor}
