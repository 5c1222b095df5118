"""The two passes over the active classes of one shard, block by block, so that no logits of the whole shard exist.

Forward: weights of the non-targets (e^z in a softmax), their sums, the numerator of the embeddings' gradient, in one
pass, because bounded logits need no maximum first. Backward: the centres' gradient, the projection of their
normalisation and the optimizer, block by block, so that no gradient of the whole shard exists either.

G global batch, D embedding, S active classes, c centres of each, N classes of a block, R = N * c rows of it,
T last classes of the S of which only some take part, P tensors of a row (centre and optimizer slots), Q sums.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import torch

from recognition.head.objective import Objective

# Logits of a block and gradient of its centres stay in the second-level cache: at G = 256 and D = 512, 1 and 2 MB.
BLOCK_CLASSES = 1024
OPERANDS = ("fp32", "tf32", "bf16")

# Takes rows (R, P, D), the gradient (R, D) of their centres, and their place among the S * c rows; updates the rows.
Update = Callable[[torch.Tensor, torch.Tensor, slice], None]


class Sample(NamedTuple):
    """One gathered batch as the sweep sees it; -1 in `slot_G` and `row_G` where another shard has the target."""

    x_GD: torch.Tensor  # unit embeddings; their dtype is the one that the sweep computes in
    slot_G: torch.Tensor  # the target's place among the S classes
    row_G: torch.Tensor  # the place of its nearest centre among the S * c rows
    value_G: torch.Tensor  # its unscaled logit
    active_T: torch.Tensor | None  # which of the last T classes take part


class Swept(NamedTuple):
    """Of a shard's non-targets: sums, numerator = sum over them of weight * slope * unit centre, weights * slopes."""

    sums_GQ: torch.Tensor
    numerator_GD: torch.Tensor
    kept: list[torch.Tensor] | None


class Coefficients(NamedTuple):
    """What a sample's weights are multiplied with in the centres' gradient, and the weight that its target gets."""

    scale_G: torch.Tensor
    target_G: torch.Tensor


class Part(NamedTuple):
    """A batch between its two sweeps."""

    sample: Sample
    objective: Objective
    offset: float | torch.Tensor
    coefficients: Coefficients
    kept: list[torch.Tensor] | None


@torch.no_grad()
def sweep_forward(
    sample: Sample,
    rows_SCPD: torch.Tensor,
    objective: Objective,
    offset: float | torch.Tensor,
    *,
    operands: str = "fp32",
    keep: bool = False,
) -> Swept:
    """Sums and numerator over the active classes; with `keep` the weights too, in bfloat16 (float64: as they are)."""
    with precision(operands):
        x_GD = _operand(sample.x_GD, operands)
        numerator_GD = torch.zeros_like(sample.x_GD)
        sums, kept = [], []
        for block in _blocks(sample, rows_SCPD):
            rows_RPD = rows_SCPD[block].flatten(0, 1)
            unit_RD = _operand(rows_RPD[:, 0] * _inverse_norms(rows_RPD), operands, like=sample.x_GD)
            weights_GR, sums_GQ = _weights(sample, x_GD, unit_RD, block, rows_SCPD, objective, offset)
            sums.append(sums_GQ)
            if operands == "bf16" and weights_GR.dtype == torch.float32:
                weights_GR = weights_GR.bfloat16()
                numerator_GD += matmul(weights_GR, unit_RD)
            else:
                numerator_GD.addmm_(weights_GR, unit_RD)
            if keep:
                kept.append(weights_GR if weights_GR.dtype == torch.float64 else weights_GR.bfloat16())
        return Swept(torch.stack(sums).sum(0), numerator_GD, kept if keep else None)


@torch.no_grad()
def sweep_backward(
    parts: Sequence[Part],
    rows_SCPD: torch.Tensor,
    update: Update,
    *,
    decay: float = 0.0,
    operands: str = "fp32",
) -> None:
    """Hand every block of rows to `update` with its gradient, the mean over the batches of `parts`.

    `decay` * centre is added to the gradient (weight decay as part of the gradient). What was kept is used up.
    """
    with precision(operands):
        x_parts = [_operand(part.sample.x_GD, operands) for part in parts]
        scaled_parts = [
            _operand(part.sample.x_GD * part.coefficients.scale_G[:, None] / len(parts), operands) for part in parts
        ]
        for number, block in enumerate(_blocks(parts[0].sample, rows_SCPD)):
            rows_RPD = rows_SCPD[block].flatten(0, 1)
            first = block.start * rows_SCPD.shape[1]
            centers_RD, inverse_R1 = rows_RPD[:, 0], _inverse_norms(rows_RPD)
            grad_RD = None
            for part, x_GD, scaled_GD in zip(parts, x_parts, scaled_parts):
                if part.kept is not None:
                    weights_GR = part.kept[number]
                else:
                    unit_RD = _operand(centers_RD * inverse_R1, operands, like=part.sample.x_GD)
                    weights_GR, _ = _weights(part.sample, x_GD, unit_RD, block, rows_SCPD, part.objective, part.offset)
                if weights_GR.dtype != scaled_GD.dtype:
                    weights_GR = weights_GR.to(scaled_GD.dtype)
                _put(weights_GR, part.sample.row_G - first, part.coefficients.target_G)
                term_RD = matmul(weights_GR.t(), scaled_GD)
                grad_RD = term_RD if grad_RD is None else grad_RD.add_(term_RD)
            # Through u = w / |w|: what lies across the centre, over its length. Then the decay.
            grad_RD = grad_RD.to(centers_RD.dtype).mul_(inverse_R1)
            along_R1 = torch.linalg.vecdot(grad_RD, centers_RD)[:, None].mul_(inverse_R1).mul_(inverse_R1)
            grad_RD.addcmul_(centers_RD, along_R1.neg_().add_(decay))
            update(rows_RPD, grad_RD, slice(first, first + len(rows_RPD)))


def _weights(
    sample: Sample,
    x_GD: torch.Tensor,
    unit_RD: torch.Tensor,
    block: slice,
    rows_SCPD: torch.Tensor,
    objective: Objective,
    offset: float | torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Weights times slopes (G, R) of a block's rows, 0 at targets and inactive classes, and sums of weights (G, Q)."""
    num_classes, subcenters = rows_SCPD.shape[:2]
    cos_GR = matmul(x_GD, unit_RD.t())
    nearest_GN = None
    cos_GN = cos_GR
    if subcenters > 1:
        cos_GN, nearest_GN = cos_GR.unflatten(1, (-1, subcenters)).max(2)
    slope_GN = objective.others_(cos_GN, sample.value_G)
    # Before the exponential: taking the target off a sum that it dominates would leave nothing of the others.
    _put(cos_GN, sample.slot_G - block.start, -torch.inf)
    tail = 0 if sample.active_T is None else num_classes - len(sample.active_T)
    if sample.active_T is not None and block.start >= tail:
        cos_GN.masked_fill_(~sample.active_T[block.start - tail : block.stop - tail], -torch.inf)
    sums_GQ = objective.weigh_(cos_GN, offset)
    if slope_GN is not None:
        cos_GN.mul_(slope_GN)
    if nearest_GN is None:
        return cos_GN, sums_GQ
    spread_GNC = cos_GN.new_zeros(*cos_GN.shape, subcenters)
    return spread_GNC.scatter_(2, nearest_GN[..., None], cos_GN[..., None]).flatten(1), sums_GQ


def _put(block_GN: torch.Tensor, column_G: torch.Tensor, value_G: torch.Tensor | float) -> None:
    """Write a value per row where its column lies in the block; fixed shapes: the device is never waited for."""
    if block_GN.shape[1] == 0:
        return
    inside_G = (column_G >= 0) & (column_G < block_GN.shape[1])
    column_G1 = column_G.clamp(0, block_GN.shape[1] - 1)[:, None]
    there_G = block_GN.gather(1, column_G1)[:, 0]
    block_GN.scatter_(1, column_G1, torch.where(inside_G, value_G, there_G).to(block_GN.dtype)[:, None])


def _blocks(sample: Sample, rows_SCPD: torch.Tensor) -> Iterator[slice]:
    """Slices over the classes, none of them across the start of the tail."""
    num_classes, subcenters = rows_SCPD.shape[:2]
    tail = num_classes - (0 if sample.active_T is None else len(sample.active_T))
    size = max(1, BLOCK_CLASSES // subcenters)
    if num_classes == 0:
        yield slice(0, 0)
    for start, stop in ((0, tail), (tail, num_classes)):
        for first in range(start, stop, size):
            yield slice(first, min(first + size, stop))


def _inverse_norms(rows_RPD: torch.Tensor) -> torch.Tensor:
    """1 / |w| of each row's centre, (R, 1); a centre of zeros counts as one of length 1e-12, as in F.normalize."""
    return torch.linalg.vector_norm(rows_RPD[:, 0], dim=1, keepdim=True).clamp_min_(1e-12).reciprocal_()


def _operand(tensor: torch.Tensor, operands: str, like: torch.Tensor | None = None) -> torch.Tensor:
    """`tensor` as a factor of a product: bfloat16 where asked for, except in float64."""
    dtype = tensor.dtype if like is None else like.dtype
    return tensor.to(torch.bfloat16 if operands == "bf16" and dtype == torch.float32 else dtype)


def matmul(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """A product accumulated, and where the device can also returned, in float32 or better."""
    if left.dtype != torch.bfloat16:
        return torch.mm(left, right)
    if left.is_cuda:
        return torch.mm(left, right, out_dtype=torch.float32)
    # The CPU's kernels round their result to bfloat16.
    return torch.mm(left, right).float()


@contextmanager
def precision(operands: str) -> Iterator[None]:
    """TensorFloat-32 for the products inside, or not, whatever the process has set."""
    settings = torch.backends.cuda.matmul
    before = settings.fp32_precision
    settings.fp32_precision = "tf32" if operands == "tf32" else "ieee"
    try:
        yield
    finally:
        settings.fp32_precision = before
