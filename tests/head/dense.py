"""A step of the head with all cosines in memory, by the pieces and closed derivatives of an Objective alone."""

from __future__ import annotations

from typing import NamedTuple

import torch

from recognition.head.objective import Objective


class DenseStep(NamedTuple):
    """What a step gives: mean loss with regulariser, and gradients of embeddings, centres and parameters."""

    loss: torch.Tensor
    grad_emb_GD: torch.Tensor
    grad_centers_RD: torch.Tensor
    grad_parameters: dict[str, torch.Tensor]
    value_G: torch.Tensor


def dense_step(
    objective: Objective, emb_GD: torch.Tensor, centers_RD: torch.Tensor, labels_G: torch.Tensor, *, blocks: int = 2
) -> DenseStep:
    """One batch over R = C * c centres, whose sums are added up over blocks of classes; gradients by the chain rule."""
    norm_G, length_R = emb_GD.norm(dim=1), centers_RD.norm(dim=1)
    x_GD, unit_RD = emb_GD / norm_G[:, None], centers_RD / length_R[:, None]
    cos_GC, nearest_GC = (x_GD @ unit_RD.T).unflatten(1, (-1, objective.subcenters)).max(2)
    num_classes, each = cos_GC.shape[1], torch.arange(len(emb_GD))

    cos_G = cos_GC[each, labels_G].clone().requires_grad_()
    norms_G = norm_G.clone().requires_grad_()
    objective.observe(norm_G if objective.uses_norm else None, cos_G.detach() if objective.target_first else None)
    value_G = objective.target(cos_G, norms_G if objective.uses_norm else None)
    by_cos_G, by_norm_G = torch.autograd.grad(value_G.sum(), (cos_G, norms_G), allow_unused=True)
    by_norm_G = torch.zeros_like(norm_G) if by_norm_G is None else by_norm_G
    value_G = value_G.detach()

    dtype = objective.sum_dtype(num_classes, cos_GC.dtype)
    offset = objective.offset(num_classes, dtype)
    sums, weights = [], []
    for start in range(0, num_classes, -(-num_classes // blocks)):
        block_GN = cos_GC[:, start : start + -(-num_classes // blocks)].to(dtype, copy=True)
        slope_GN = objective.others_(block_GN, value_G.to(dtype))
        here_G = (labels_G >= start) & (labels_G < start + block_GN.shape[1])
        block_GN[each[here_G], labels_G[here_G] - start] = -torch.inf
        sums.append(objective.weigh_(block_GN, offset))
        weights.append(block_GN if slope_GN is None else block_GN * slope_GN)
    sums_GQ = torch.stack(sums).sum(0)
    closed = objective.close(sums_GQ, value_G.to(dtype), offset)

    coefficient_G = objective.s * closed.scale_G / len(emb_GD)
    grad_GC = torch.cat(weights, 1) * coefficient_G[:, None]
    grad_GC[each, labels_G] = coefficient_G * closed.target_G * by_cos_G
    grad_GR = torch.zeros(*cos_GC.shape, objective.subcenters, dtype=dtype)
    grad_GR = grad_GR.scatter_(2, nearest_GC[..., None], grad_GC[..., None]).flatten(1).to(cos_GC.dtype)

    regulariser = objective.regulariser(norms_G if objective.uses_norm else None)
    grad_norm_G = (coefficient_G * closed.target_G * by_norm_G).to(norm_G.dtype)
    loss = closed.loss_G.mean()
    if regulariser is not None:
        grad_norm_G = grad_norm_G + torch.autograd.grad(regulariser, norms_G)[0]
        loss = loss + regulariser.detach()
    grad_x_GD, grad_unit_RD = grad_GR @ unit_RD, grad_GR.T @ x_GD
    return DenseStep(
        loss,
        _through_length(grad_x_GD, x_GD, norm_G) + grad_norm_G[:, None] * x_GD,
        _through_length(grad_unit_RD, unit_RD, length_R),
        _parameter_gradients(objective, sums_GQ, value_G.to(dtype), offset),
        value_G,
    )


def _through_length(grad_ND: torch.Tensor, unit_ND: torch.Tensor, length_N: torch.Tensor) -> torch.Tensor:
    return (grad_ND - (grad_ND * unit_ND).sum(1, keepdim=True) * unit_ND) / length_N[:, None]


def _parameter_gradients(objective: Objective, *closed: torch.Tensor | float) -> dict[str, torch.Tensor]:
    term = objective.parameter_term(*closed)
    if term is None:
        return {}
    assert term.item() == 0
    names, parameters = zip(*objective.named_parameters())
    return dict(zip(names, torch.autograd.grad(term, parameters)))
