"""What the ranks tell each other in a step: three collectives for any number of ranks.

B local batch, G global batch, D embedding, Q sums of the objective.
"""

from __future__ import annotations

from typing import NamedTuple

import torch

from recognition.collectives import all_gather, reduce_scatter_sum
from recognition.head.targets import Targets
from recognition.runtime import Runtime


class Gathered(NamedTuple):
    """The global batch: unit embeddings, their norms before, labels; rows of broken embeddings are zero."""

    x_GD: torch.Tensor
    norm_G: torch.Tensor
    labels_G: torch.Tensor
    is_finite_G: torch.Tensor


class Shares(NamedTuple):
    """Sums over the shards: N and target direction for this rank's samples, the rest for all samples."""

    numerator_BD: torch.Tensor
    direction_BD: torch.Tensor
    by_norm_B: torch.Tensor
    sums_GQ: torch.Tensor
    value_G: torch.Tensor
    cos_G: torch.Tensor


def gather_batch(x_BD: torch.Tensor, norm_B: torch.Tensor, labels_B: torch.Tensor, runtime: Runtime) -> Gathered:
    """One all-gather; the int64 labels travel as the floats whose bits they have."""
    is_finite_B = torch.isfinite(x_BD).all(1) & torch.isfinite(norm_B)
    x_BD = torch.where(is_finite_B[:, None], x_BD, 0)
    norm_B = torch.where(is_finite_B, norm_B, torch.nan)
    columns = torch.cat([x_BD, norm_B[:, None], labels_B[:, None].view(x_BD.dtype)], dim=1)
    gathered = all_gather(columns, runtime, what="embeddings and labels")
    size = x_BD.shape[1]
    norm_G = gathered[:, size]
    # A copy of its own: a view of other bits must start at a multiple of their size.
    labels_G = gathered[:, size + 1 :].clone(memory_format=torch.contiguous_format).view(torch.int64)[:, 0]
    is_finite_G = torch.isfinite(norm_G)
    return Gathered(gathered[:, :size].contiguous(), torch.where(is_finite_G, norm_G, 1), labels_G, is_finite_G)


def exchange_sums(sums_GQ: torch.Tensor, numerator_GD: torch.Tensor, targets: Targets, runtime: Runtime) -> Shares:
    """One reduce-scatter to the ranks whose samples they are, then one all-gather of the few numbers all want."""
    dtype, size = numerator_GD.dtype, numerator_GD.shape[1]
    numbers = [targets.by_norm_G, targets.value_G, targets.cos_G]
    columns = [numerator_GD, targets.slope_G[:, None] * targets.unit_GD, *(n[:, None] for n in numbers), sums_GQ]
    columns = torch.cat([column.to(dtype) for column in columns], dim=1)
    mine = reduce_scatter_sum(columns, runtime, what="softmax sums")
    numerator_BD, direction_BD, numbers_BX = mine.tensor_split((size, 2 * size), dim=1)
    all_GX = all_gather(numbers_BX, runtime, what="softmax sums")
    return Shares(numerator_BD, direction_BD, numbers_BX[:, 0], all_GX[:, 3:], all_GX[:, 1], all_GX[:, 2])
