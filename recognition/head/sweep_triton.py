"""sweep.py's two passes as Triton kernels: the same numbers, for CUDA tensors in float32.

Classes go through in chunks whose unit centres and weights stay in the GPU's second-level cache:
forward    unit centres -> weights and sums (Triton) -> numerator += weights @ unit centres (cuBLAS)
backward   weights, kept or made again -> gradient, projection and optimizer in one kernel (Triton)

G global batch, D embedding, S active classes, N classes of a chunk, L tiles of these, T last classes of which only some
take part, P tensors of a row (centre and momentum).
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from types import ModuleType
from typing import NamedTuple

import torch

from recognition.errors import InputError
from recognition.head.margins import CombinedMarginLoss
from recognition.head.objective import Objective
from recognition.head.rows import RowOptimizer, RowSGD
from recognition.head.sweep import Part, Sample, Swept, matmul, precision

# Unit centres and weights of a chunk; the cache has 40 MB on an A100, 50 MB on an H100 or H200.
CHUNK_BYTES = 32 << 20
# Chunks are whole tiles, so that the rows of their weights are aligned.
CHUNK_CLASSES = 128
# Samples whose targets one program writes.
PUT_SAMPLES = 128
# A program of the backward pass holds whole gradients in registers: 16 classes of 2048 features at least.
MAX_EMBEDDING = 2048


class Tiles(NamedTuple):
    """Classes, samples and features of one program, its warps, and the loads that it has in flight."""

    classes: int
    samples: int
    features: int
    warps: int
    stages: int


class SGDStep(NamedTuple):
    """What the optimizer needs in a step; a captured graph wants the learning rate as a tensor, to change it.

    `skip`, a number on the device, is not 0 where the step is to change nothing.
    """

    momentum: float
    lr: float | torch.Tensor
    skip: torch.Tensor | None = None


def supports(objective: Objective, optimizer: RowOptimizer, dtype: torch.dtype, embedding_size: int = 512) -> bool:
    """Whether the kernels know this step; sweep.py does all others, on CUDA tensors too."""
    plain = type(objective).weigh_ is Objective.weigh_ and objective.subcenters == 1
    known = type(objective).others_ in (Objective.others_, CombinedMarginLoss.others_)
    fits = dtype == torch.float32 and embedding_size <= MAX_EMBEDDING
    return plain and known and fits and isinstance(optimizer, RowSGD) and _has_triton()


@torch.no_grad()
def sweep_forward(
    sample: Sample,
    rows_SCPD: torch.Tensor,
    objective: Objective,
    offset: float,
    *,
    operands: str = "fp32",
    keep: bool = False,
) -> Swept:
    """Sums (G, 1) and numerator (G, D) over the active classes; `keep`: the weights too, bfloat16 (G, N) a chunk."""
    num_samples, size = sample.x_GD.shape
    x_GD = sample.x_GD.to(_format(operands)).contiguous()
    numerator_GD = torch.zeros_like(sample.x_GD)
    sums_G = sample.x_GD.new_zeros(num_samples)
    kept = []
    with precision(operands):
        for chunk in _chunks(len(rows_SCPD), num_samples, size, operands):
            rows_NPD = rows_SCPD[chunk, 0]
            unit_ND = _unit_centers(rows_NPD, operands)
            weights_GN = x_GD.new_empty(num_samples, len(rows_NPD))
            sums_G += _weigh(
                sample, x_GD, unit_ND, weights_GN, chunk.start, len(rows_SCPD), objective, offset, operands
            )
            numerator_GD += matmul(weights_GN, unit_ND)
            if keep:
                kept.append(weights_GN.bfloat16())
            # Freed first, the memory of this chunk, still in the cache, is what the next one gets.
            del unit_ND, weights_GN
    return Swept(sums_G[:, None], numerator_GD, kept if keep else None)


@torch.no_grad()
def sweep_backward(
    parts: Sequence[Part],
    rows_SCPD: torch.Tensor,
    update: SGDStep,
    *,
    decay: float = 0.0,
    operands: str = "fp32",
) -> None:
    """One step of SGD on all rows with the mean gradient of the batches of `parts`, plus `decay` * centre.

    All batches have one size; what was kept of them is used up. Not supported: weights kept of some batches only.
    """
    num_samples, size = parts[0].sample.x_GD.shape
    dtype = _format(operands)
    x_parts = [part.sample.x_GD.to(dtype).contiguous() for part in parts]
    scaled_parts = [part.sample.x_GD * part.coefficients.scale_G[:, None] / len(parts) for part in parts]
    scaled_GD = torch.cat(scaled_parts).to(dtype)
    row_G = torch.cat([part.sample.row_G for part in parts])
    target_G = torch.cat([part.coefficients.target_G for part in parts])
    step_2 = rows_SCPD.new_ones(2)
    step_2[:1] = update.lr
    if update.skip is not None:
        step_2[1:] = update.skip == 0
    tiles = descending_tiles(size, operands)
    for number, chunk in enumerate(_chunks(len(rows_SCPD), num_samples, size, operands)):
        rows_NPD = rows_SCPD[chunk, 0]
        if parts[0].kept is None:
            weights_GN = scaled_GD.new_empty(len(scaled_GD), len(rows_NPD))
            unit_ND = _unit_centers(rows_NPD, operands)
            for part, x_GD, part_GN in zip(parts, x_parts, weights_GN.split(num_samples)):
                of_part = (part.objective, part.offset, operands)
                _weigh(part.sample, x_GD, unit_ND, part_GN, chunk.start, len(rows_SCPD), *of_part)
            del unit_ND
        else:
            weights = [part.kept[number] for part in parts]
            weights_GN = (weights[0] if len(weights) == 1 else torch.cat(weights)).to(dtype)
        _kernels().put_targets[(-(-len(scaled_GD) // PUT_SAMPLES),)](
            weights_GN,
            row_G,
            target_G,
            len(scaled_GD),
            len(rows_NPD),
            chunk.start,
            BLOCK_G=PUT_SAMPLES,
        )
        _kernels().descend_rows[(-(-len(rows_NPD) // tiles.classes),)](
            weights_GN,
            scaled_GD,
            rows_NPD,
            step_2,
            len(scaled_GD),
            len(rows_NPD),
            rows_NPD.stride(0),
            rows_NPD.stride(1),
            update.momentum,
            decay,
            D=size,
            SLICES=-(-size // tiles.features),
            PRECISION=input_precision(operands),
            BLOCK_N=tiles.classes,
            BLOCK_G=tiles.samples,
            BLOCK_D=tiles.features,
            **_options(tiles),
        )
        del weights_GN


@functools.cache
def _has_triton() -> bool:
    try:
        import triton  # noqa: F401
    except ImportError:
        return False
    return True


def weighing_tiles(embedding_size: int, operands: str) -> Tiles:
    """Tiles of `weigh_classes`; float32 operands take twice the shared memory, and have no matrix units to feed."""
    if operands == "fp32":
        return Tiles(64, 64, min(32, triton_block(embedding_size)), 4, 2)
    return Tiles(128, 128, min(64 if operands == "bf16" else 32, triton_block(embedding_size)), 8, 3)


def descending_tiles(embedding_size: int, operands: str) -> Tiles:
    """Tiles of `descend_rows`: at most 128 KB of gradients (bf16) or 64 KB, in the registers of 8 warps."""
    most, gradients, stages = (64, 64 * 512, 3) if operands == "bf16" else (128, 32 * 512, 2)
    size = triton_block(embedding_size)
    return Tiles(max(16, min(64, gradients // size)), 32, min(most, size), 8, stages)


def _weigh(
    sample: Sample,
    x_GD: torch.Tensor,
    unit_ND: torch.Tensor,
    weights_GN: torch.Tensor,
    first: int,
    num_classes: int,
    objective: Objective,
    offset: float,
    operands: str,
) -> torch.Tensor:
    """Fill `weights_GN` for the chunk that starts at class `first`; returns the sums (G,) of the weights."""
    (num_samples, size), num_here = x_GD.shape, len(unit_ND)
    tiles = weighing_tiles(size, operands)
    num_tiles = -(-num_here // tiles.classes)
    sums_LG = x_GD.new_empty(num_tiles, num_samples, dtype=torch.float32)
    threshold = getattr(objective, "interclass_filtering_threshold", 0.0)
    has_tail = sample.active_T is not None
    _kernels().weigh_classes[(num_tiles * -(-num_samples // tiles.samples),)](
        x_GD,
        unit_ND,
        sample.slot_G,
        # Without a tail the kernel reads nothing there.
        sample.active_T if has_tail else sample.slot_G,
        weights_GN,
        sums_LG,
        num_samples,
        num_here,
        first,
        num_classes - len(sample.active_T) if has_tail else num_classes,
        objective.s,
        offset,
        threshold,
        D=size,
        FILTER=threshold > 0,
        TAIL=has_tail,
        PRECISION=input_precision(operands),
        BLOCK_G=tiles.samples,
        BLOCK_N=tiles.classes,
        BLOCK_D=tiles.features,
        **_options(tiles),
    )
    return sums_LG.sum(0)


def _unit_centers(rows_NPD: torch.Tensor, operands: str) -> torch.Tensor:
    num_here, _, size = rows_NPD.shape
    unit_ND = torch.empty(num_here, size, dtype=_format(operands), device=rows_NPD.device)
    block = triton_block(size)
    tiles = Tiles(max(1, 2048 // block), 1, block, 4, 1)
    _kernels().normalise_rows[(-(-num_here // tiles.classes),)](
        rows_NPD,
        unit_ND,
        num_here,
        rows_NPD.stride(0),
        D=size,
        BLOCK_N=tiles.classes,
        BLOCK_D=tiles.features,
        **_options(tiles),
    )
    return unit_ND


def _chunks(num_classes: int, num_samples: int, size: int, operands: str) -> Iterator[slice]:
    """Slices over the classes; forward and backward pass cut them alike, because what was kept lies by chunks."""
    bytes_a_class = (num_samples + size) * _format(operands).itemsize
    step = max(1, CHUNK_BYTES // bytes_a_class // CHUNK_CLASSES) * CHUNK_CLASSES
    for start in range(0, num_classes, step):
        yield slice(start, min(start + step, num_classes))


def _format(operands: str) -> torch.dtype:
    return torch.bfloat16 if operands == "bf16" else torch.float32


def _options(tiles: Tiles) -> dict[str, int | bool]:
    """How a kernel is compiled; products and sums may fuse, which newer releases of triton do only when asked."""
    return {"num_warps": tiles.warps, "num_stages": tiles.stages, "enable_fp_fusion": True}


def input_precision(operands: str) -> str:
    """What `tl.dot` does with float32 operands; it has no say over bfloat16 ones."""
    return "tf32" if operands == "tf32" else "ieee"


def triton_block(size: int) -> int:
    """The smallest side of a tile that holds `size`: a power of two, and no less than 16."""
    return max(16, 1 << (size - 1).bit_length())


@functools.cache
def _kernels() -> ModuleType:
    try:
        from recognition.head import sweep_kernels

        return sweep_kernels
    except ModuleNotFoundError as error:
        if error.name != "triton":
            raise
        raise InputError("the head's CUDA kernels need triton: pip install triton, or head on plain torch") from None
