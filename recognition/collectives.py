"""The few collectives in use; none carries a gradient, all are identities where `runtime.world == 1`.

`what` is being sent, for the report of a hang: "all_gather of embeddings (step 17) timed out".
What a step needs of gradients travels as numbers: the head makes its own (see head/exchange.py), DDP the backbone's.
"""

from __future__ import annotations

import torch
import torch.distributed as dist

from recognition.runtime import Runtime

# torch 2.13 renamed the two and warns at the old names.
_gather_into = getattr(dist, "all_gather_single", None) or dist.all_gather_into_tensor
_scatter_sum_into = getattr(dist, "reduce_scatter_single", None) or dist.reduce_scatter_tensor


def all_gather(rows: torch.Tensor, runtime: Runtime, *, what: str = "rows") -> torch.Tensor:
    """Rows (B, ...) of all ranks, in rank order, as (B * world, ...); equal B everywhere."""
    if runtime.world == 1:
        return rows.detach()
    rows = rows.detach().contiguous()
    gathered = rows.new_empty(runtime.world * rows.shape[0], *rows.shape[1:])
    with runtime.collective(f"all_gather of {what}"):
        _gather_into(gathered, rows)
    return gathered


def reduce_scatter_sum(rows: torch.Tensor, runtime: Runtime, *, what: str = "rows") -> torch.Tensor:
    """Of the rows (B * world, ...) summed over ranks, those (B, ...) that belong to this rank."""
    rows = rows.detach()
    if runtime.world == 1:
        return rows
    mine = rows.new_empty(rows.shape[0] // runtime.world, *rows.shape[1:])
    with runtime.collective(f"reduce_scatter of {what}"):
        _scatter_sum_into(mine, rows.contiguous())
    return mine


def all_reduce_sum(tensor: torch.Tensor, runtime: Runtime, *, what: str = "a tensor") -> torch.Tensor:
    """Sum over ranks, the argument left as it was."""
    return _reduced(tensor, dist.ReduceOp.SUM, runtime, what)


def all_reduce_mean(tensor: torch.Tensor, runtime: Runtime, *, what: str = "a tensor") -> torch.Tensor:
    """Mean over ranks, the argument left as it was."""
    return all_reduce_sum(tensor, runtime, what=what) / runtime.world


def all_reduce_max(tensor: torch.Tensor, runtime: Runtime, *, what: str = "a tensor") -> torch.Tensor:
    """Element-wise maximum over ranks, the argument left as it was."""
    return _reduced(tensor, dist.ReduceOp.MAX, runtime, what)


def gather_text(text: str, runtime: Runtime, *, what: str = "text") -> list[str]:
    """The text of every rank, in rank order: two collectives of bytes, so that nothing is pickled."""
    if runtime.world == 1:
        return [text]
    own = text.encode("utf-8", "surrogateescape")
    sizes = all_gather(torch.tensor([len(own)], device=runtime.device), runtime, what=what).tolist()
    padded = torch.frombuffer(bytearray(own.ljust(max(1, *sizes))), dtype=torch.uint8).to(runtime.device)
    rows = all_gather(padded, runtime, what=what).view(runtime.world, -1).cpu().numpy()
    return [row[:size].tobytes().decode("utf-8", "surrogateescape") for row, size in zip(rows, sizes)]


def _reduced(tensor: torch.Tensor, how: dist.ReduceOp.RedOpType, runtime: Runtime, what: str) -> torch.Tensor:
    result = tensor.detach().clone(memory_format=torch.contiguous_format)
    if runtime.world > 1:
        with runtime.collective(f"all_reduce of {what}"):
            dist.all_reduce(result, op=how)
    return result
