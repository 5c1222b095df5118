"""The targets of a batch: the centre of each sample's own class, where it lives in this shard.

G global batch, D embedding, S active classes, c centres of each, P tensors of a centre.
"""

from __future__ import annotations

from typing import NamedTuple

import torch

from recognition.collectives import all_reduce_sum
from recognition.head.objective import Objective
from recognition.runtime import Runtime


class Targets(NamedTuple):
    """What a shard knows of each sample's target; zeros (row -1) where the class is in another shard."""

    row_G: torch.Tensor  # int64, its place among the S * c rows
    unit_GD: torch.Tensor  # the centre, the nearest of c
    cos_G: torch.Tensor
    value_G: torch.Tensor  # the unscaled logit, after the margin
    slope_G: torch.Tensor  # d value / d cos
    by_norm_G: torch.Tensor  # d value / d norm


@torch.no_grad()
def find_targets(
    x_GD: torch.Tensor,
    norm_G: torch.Tensor,
    slot_G: torch.Tensor,
    rows_SCPD: torch.Tensor,
    objective: Objective,
    runtime: Runtime,
) -> tuple[Targets, torch.Tensor]:
    """The targets in this shard, and the values (G,) that the sweep compares with: of all samples if `target_first`.

    Computed in the format of `x_GD`, whatever the sweep computes in: here the loss of a good sample is decided.
    """
    is_here_G = slot_G >= 0
    row_G, unit_GD = slot_G, torch.zeros_like(x_GD)
    if len(rows_SCPD):
        centers_GCD = rows_SCPD[slot_G.clamp_min(0), :, 0].to(x_GD.dtype)
        unit_GCD = centers_GCD / torch.linalg.vector_norm(centers_GCD, dim=2, keepdim=True).clamp_min(1e-12)
        nearest_G = (unit_GCD * x_GD[:, None]).sum(2).argmax(1)
        row_G = torch.where(is_here_G, slot_G * rows_SCPD.shape[1] + nearest_G, -1)
        unit_GD = unit_GCD.gather(1, nearest_G[:, None, None].expand(-1, 1, x_GD.shape[1]))[:, 0]
        unit_GD.mul_(is_here_G[:, None])
    cos_G = (x_GD * unit_GD).sum(1)
    known_G = cos_G.clone()
    if objective.target_first:
        known_G = all_reduce_sum(known_G, runtime, what="target cosines")
    objective.observe(norm_G, known_G if objective.target_first else None)
    with torch.enable_grad():
        leaves = known_G.requires_grad_(), norm_G.to(x_GD.dtype, copy=True).requires_grad_()
        value_G = objective.target(*leaves)
        slopes = torch.autograd.grad(value_G.sum(), leaves, allow_unused=True, materialize_grads=True)
    values_G = value_G.detach()
    here = [torch.where(is_here_G, of_G, 0) for of_G in (values_G, *slopes)]
    return Targets(row_G, unit_GD, cos_G, *here), values_G
