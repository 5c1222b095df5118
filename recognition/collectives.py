"""The few collectives in use, each with its gradient rule. All are identities where `runtime.world == 1`.

Two rules cover the sharded head. Its loss is computed on every rank, but it is one loss, counted once:
- gather: a row is used by every rank, so its gradient is the sum of all ranks' gradients (a reduce-scatter).
- sum: what follows is the same computation on every rank, so the gradient of a summand is that of the sum, unchanged.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist

from recognition.runtime import Runtime

# torch 2.13 renamed the two and warns at the old names.
_gather_into = getattr(dist, "all_gather_single", None) or dist.all_gather_into_tensor
_scatter_sum_into = getattr(dist, "reduce_scatter_single", None) or dist.reduce_scatter_tensor


def all_gather(rows: torch.Tensor, runtime: Runtime) -> torch.Tensor:
    """Rows (B, ...) of all ranks, in rank order, as (B * world, ...); equal B everywhere; no gradient."""
    if runtime.world == 1:
        return rows.detach()
    rows = rows.detach().contiguous()
    gathered = rows.new_empty(runtime.world * rows.shape[0], *rows.shape[1:])
    _gather_into(gathered, rows)
    return gathered


def gather_rows(rows: torch.Tensor, runtime: Runtime) -> torch.Tensor:
    """`all_gather` with a gradient: that of my rows is the sum over all ranks of their gradients for these rows."""
    return rows if runtime.world == 1 else _GatherRows.apply(rows, runtime)


def reduce_scatter_sum(rows: torch.Tensor, runtime: Runtime) -> torch.Tensor:
    """Of the rows (B * world, ...) summed over ranks, those (B, ...) that belong to this rank; no gradient."""
    rows = rows.detach()
    if runtime.world == 1:
        return rows
    mine = rows.new_empty(rows.shape[0] // runtime.world, *rows.shape[1:])
    _scatter_sum_into(mine, rows.contiguous())
    return mine


def all_reduce_sum(tensor: torch.Tensor, runtime: Runtime) -> torch.Tensor:
    """Sum over ranks, the argument left as it was; the gradient of a summand is the gradient of the sum."""
    return tensor if runtime.world == 1 else _AllReduceSum.apply(tensor)


def all_reduce_mean(tensor: torch.Tensor, runtime: Runtime) -> torch.Tensor:
    """Mean over ranks, the argument left as it was; no gradient."""
    return all_reduce_sum(tensor.detach(), runtime) / runtime.world


def all_reduce_max(tensor: torch.Tensor, runtime: Runtime) -> torch.Tensor:
    """Element-wise maximum over ranks, the argument left as it was; no gradient."""
    largest = tensor.detach().clone()
    if runtime.world > 1:
        dist.all_reduce(largest, op=dist.ReduceOp.MAX)
    return largest


class _GatherRows(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: torch.Tensor, runtime: Runtime) -> torch.Tensor:
        ctx.world = runtime.world
        return all_gather(rows, runtime)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, None]:
        grad_rows = grad.new_empty(grad.shape[0] // ctx.world, *grad.shape[1:])
        _scatter_sum_into(grad_rows, grad.contiguous())
        return grad_rows, None


class _AllReduceSum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, tensor: torch.Tensor) -> torch.Tensor:
        total = tensor.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> torch.Tensor:
        return grad
