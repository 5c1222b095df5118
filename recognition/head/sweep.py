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
from recognition.head.room import Room

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
    inverse_R1: torch.Tensor | None = None  # 1 / |w| of all S * c rows


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
    inverse_R1: torch.Tensor | None


@torch.no_grad()
def sweep_forward(
    sample: Sample,
    rows_SCPD: torch.Tensor,
    objective: Objective,
    offset: float | torch.Tensor,
    *,
    operands: str = "fp32",
    keep: bool = False,
    room: Room | None = None,
    part: int = 0,
) -> Swept:
    """Sums and numerator over the active classes; with `keep` the weights too, in bfloat16 (float64: as they are).

    They stay in `room` until the next step's `part` of the same number.
    """
    with precision(operands):
        x_GD, room = _operand(sample.x_GD, operands), room or Room(rows_SCPD.device)
        numerator_GD = torch.zeros_like(sample.x_GD)
        sums, inverses, kept = [], [], _kept_blocks(sample, rows_SCPD, room, part) if keep else None
        for number, block in enumerate(_blocks(sample, rows_SCPD)):
            rows_RPD = rows_SCPD[block].flatten(0, 1)
            inverses.append(_inverse_norms(rows_RPD))
            unit_RD = _unit(rows_RPD, inverses[-1], x_GD.dtype, room)
            weights_GR, sums_GQ = _weights(sample, x_GD, unit_RD, block, rows_SCPD, objective, offset, room)
            sums.append(sums_GQ)
            if keep:
                kept[number].copy_(weights_GR)
            if unit_RD.dtype == torch.bfloat16:
                numerator_GD += matmul(kept[number] if keep else weights_GR.bfloat16(), unit_RD)
            else:
                numerator_GD.addmm_(weights_GR, unit_RD)
        return Swept(torch.stack(sums).sum(0), numerator_GD, kept, torch.cat(inverses))


@torch.no_grad()
def sweep_backward(
    parts: Sequence[Part],
    rows_SCPD: torch.Tensor,
    update: Update,
    *,
    decay: float = 0.0,
    operands: str = "fp32",
    room: Room | None = None,
) -> None:
    """Hand every block of rows to `update` with its gradient, the mean over the batches of `parts`.

    `decay` * centre is added to the gradient (weight decay as part of the gradient). What was kept is used up.
    """
    with precision(operands):
        x_parts = [_operand(part.sample.x_GD, operands) for part in parts]
        scaled_parts = [
            _operand(part.sample.x_GD * part.coefficients.scale_G[:, None] / len(parts), operands) for part in parts
        ]
        room = room or Room(rows_SCPD.device)
        for number, block in enumerate(_blocks(parts[0].sample, rows_SCPD)):
            rows_RPD = rows_SCPD[block].flatten(0, 1)
            first = block.start * rows_SCPD.shape[1]
            # The last batch saw all rows of the tail.
            centers_RD, inverse_R1 = rows_RPD[:, 0], parts[-1].inverse_R1[first : first + len(rows_RPD)]
            grad_RD = None
            for part, x_GD, scaled_GD in zip(parts, x_parts, scaled_parts):
                if part.kept is not None:
                    weights_GR = part.kept[number]
                else:
                    unit_RD = _unit(rows_RPD, inverse_R1, x_GD.dtype, room)
                    weights_GR, _ = _weights(
                        part.sample, x_GD, unit_RD, block, rows_SCPD, part.objective, part.offset, room
                    )
                if weights_GR.dtype != scaled_GD.dtype:
                    weights_GR = room.of("operand", weights_GR.shape, scaled_GD.dtype).copy_(weights_GR)
                _put(weights_GR, part.sample.row_G - first, part.coefficients.target_G)
                name = "grad" if grad_RD is None else "term"
                term_RD = room.of(name, (len(rows_RPD), x_GD.shape[1]), part.sample.x_GD.dtype)
                matmul(weights_GR.t(), scaled_GD, out=term_RD)
                grad_RD = term_RD if grad_RD is None else grad_RD.add_(term_RD)
            # Through u = w / |w|: what lies across the centre, over its length. Then the decay.
            grad_RD = grad_RD.to(centers_RD.dtype).mul_(inverse_R1)
            product_RD = torch.mul(grad_RD, centers_RD, out=room.of("product", grad_RD.shape, grad_RD.dtype))
            along_R1 = product_RD.sum(1, keepdim=True).mul_(inverse_R1).mul_(inverse_R1)
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
    room: Room,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Weights times slopes (G, R) of a block's rows, 0 at targets and inactive classes, and sums of weights (G, Q)."""
    num_classes, subcenters = rows_SCPD.shape[:2]
    shape = (len(x_GD), len(unit_RD))
    cos_GR = matmul(x_GD, unit_RD.t(), out=room.of("cos", shape, sample.x_GD.dtype))
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


def _unit(rows_RPD: torch.Tensor, inverse_R1: torch.Tensor, dtype: torch.dtype, room: Room) -> torch.Tensor:
    """Unit centres (R, D) in the format of the products' factors."""
    centers_RD = rows_RPD[:, 0].to(dtype) if dtype == torch.float64 else rows_RPD[:, 0]
    return torch.mul(centers_RD, inverse_R1, out=room.of("unit", centers_RD.shape, dtype))


def _operand(tensor: torch.Tensor, operands: str) -> torch.Tensor:
    """`tensor` as a factor of a product: bfloat16 where asked for, except in float64."""
    return tensor.bfloat16() if operands == "bf16" and tensor.dtype == torch.float32 else tensor


def _kept_blocks(sample: Sample, rows_SCPD: torch.Tensor, room: Room, part: int) -> list[torch.Tensor]:
    """Room (G, R) for the weights of every block, in one piece: many small ones would leave gaps between them."""
    rows, (samples, _) = rows_SCPD.shape[:2].numel(), sample.x_GD.shape
    dtype = torch.float64 if sample.x_GD.dtype == torch.float64 else torch.bfloat16
    flat = room.of(f"kept {part}", (samples * rows,), dtype)
    sizes = [samples * (block.stop - block.start) * rows_SCPD.shape[1] for block in _blocks(sample, rows_SCPD)]
    return [piece.view(samples, -1) for piece in flat.split(sizes)]


def matmul(left: torch.Tensor, right: torch.Tensor, out: torch.Tensor | None = None) -> torch.Tensor:
    """A product accumulated, and where the device can also returned, in float32 or better."""
    if left.dtype != torch.bfloat16:
        return torch.mm(left, right, out=out)
    if left.is_cuda:
        return torch.mm(left, right, out_dtype=torch.float32, out=out)
    # The CPU's kernels round their result to bfloat16.
    product = torch.mm(left, right)
    return product.float() if out is None else out.copy_(product)


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
