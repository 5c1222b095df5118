"""Triton kernels of the sweep over class centres; sweep_triton.py launches them on blocks of classes. Needs triton.

Every kernel gives the same bits in every run: programs share no output, and partial sums are added afterwards in a
fixed order. Nothing here reads a device value on the host, and shapes are fixed, so that a CUDA graph can hold them.

G global batch, D embedding, N classes of a block, L tiles of these, T last classes of which only some take part,
P tensors of a row (centre and momentum). Tables are indexed in 64 bits: 10 M rows of 4 KB are 40 GB.
"""

# Triton infers the types of arguments.
# ruff: noqa: ANN001, ANN201
from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def normalise_rows(rows_NPD, unit_ND, N, row_stride, D: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_D: tl.constexpr):
    """Unit centres in the format of `unit_ND`; a centre of zeros counts as one of length 1e-12."""
    classes_N = tl.program_id(0) * BLOCK_N + tl.arange(0, BLOCK_N)
    features_D = tl.arange(0, BLOCK_D)
    here_ND = (classes_N < N)[:, None] & (features_D < D)[None, :]
    center_ND = tl.load(rows_NPD + classes_N.to(tl.int64)[:, None] * row_stride + features_D[None, :], here_ND, other=0)
    inverse_N = 1 / tl.maximum(tl.sqrt(tl.sum(center_ND * center_ND, axis=1)), 1e-12)
    at_ND = classes_N.to(tl.int64)[:, None] * D + features_D[None, :]
    tl.store(unit_ND + at_ND, (center_ND * inverse_N[:, None]).to(unit_ND.dtype.element_ty), here_ND)


@triton.jit(do_not_specialize=["first", "tail"])
def weigh_classes(
    x_GD,
    unit_ND,
    slot_G,
    active_T,
    weights_GN,
    sums_LG,
    G,
    N,
    first,
    tail,
    scale,
    offset,
    threshold,
    D: tl.constexpr,
    FILTER: tl.constexpr,
    TAIL: tl.constexpr,
    PRECISION: tl.constexpr,
    BLOCK_G: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_D: tl.constexpr,
):
    """e^(scale * cos - offset) of non-targets that take part, else 0, and its sum over each tile of classes.

    FILTER: cosines above `threshold` count as 0 in the sums and have no gradient: their stored weight is 0.
    TAIL: from class `tail` on, `active_T` says which take part. `first` is the place of the block's first class.
    """
    # Neighbouring programs share a tile of centres: the embeddings are few and stay in the second-level cache.
    tiles = tl.cdiv(G, BLOCK_G)
    tile = tl.program_id(0) // tiles
    samples_G = (tl.program_id(0) % tiles) * BLOCK_G + tl.arange(0, BLOCK_G)
    classes_N = tile * BLOCK_N + tl.arange(0, BLOCK_N)
    is_sample_G, is_class_N = samples_G < G, classes_N < N

    cos_GN = tl.zeros((BLOCK_G, BLOCK_N), tl.float32)
    for start in range(0, D, BLOCK_D):
        features_D = start + tl.arange(0, BLOCK_D)
        is_feature_D = features_D < D
        x_tile_GD = tl.load(
            x_GD + samples_G[:, None] * D + features_D[None, :], is_sample_G[:, None] & is_feature_D[None, :], other=0
        )
        unit_tile_DN = tl.load(
            unit_ND + classes_N[None, :] * D + features_D[:, None], is_class_N[None, :] & is_feature_D[:, None], other=0
        )
        cos_GN = tl.dot(x_tile_GD, unit_tile_DN, cos_GN, input_precision=PRECISION)

    takes_part_N = is_class_N
    if TAIL:
        in_tail_N = first + classes_N - tail
        active_N = tl.load(active_T + in_tail_N, is_class_N & (in_tail_N >= 0), other=1)
        takes_part_N = takes_part_N & (active_N != 0)
    slot_tile_G = tl.load(slot_G + samples_G, is_sample_G, other=-1)
    is_target_GN = slot_tile_G[:, None] == (first + classes_N)[None, :]
    logit_GN = cos_GN
    if FILTER:
        logit_GN = tl.where(cos_GN > threshold, 0.0, cos_GN)
    # Before the exponential: taking the target off a sum that it dominates would leave nothing of the others.
    logit_GN = tl.where(takes_part_N[None, :] & ~is_target_GN, logit_GN * scale - offset, float("-inf"))
    weight_GN = tl.exp(logit_GN)
    tl.store(sums_LG + tile * G + samples_G, tl.sum(weight_GN, axis=1), is_sample_G)
    if FILTER:
        weight_GN = tl.where(cos_GN > threshold, 0.0, weight_GN)
    at_GN = samples_G.to(tl.int64)[:, None] * N + classes_N[None, :]
    stored_GN = weight_GN.to(weights_GN.dtype.element_ty)
    tl.store(weights_GN + at_GN, stored_GN, is_sample_G[:, None] & is_class_N[None, :])


@triton.jit(do_not_specialize=["first"])
def put_targets(weights_GN, row_G, target_G, G, N, first, BLOCK_G: tl.constexpr):
    """Write the weights of the targets among the classes from `first` on.

    Not a part of `descend_rows`: weights that pass through registers there keep its products from overlapping.
    """
    samples_G = tl.program_id(0) * BLOCK_G + tl.arange(0, BLOCK_G)
    is_sample_G = samples_G < G
    place_G = tl.load(row_G + samples_G, is_sample_G, other=-1) - first
    target_tile_G = tl.load(target_G + samples_G, is_sample_G, other=0)
    is_here_G = (place_G >= 0) & (place_G < N)
    at_G = samples_G.to(tl.int64) * N + place_G
    tl.store(weights_GN + at_G, target_tile_G.to(weights_GN.dtype.element_ty), is_here_G)


@triton.jit
def descend_rows(
    weights_GN,
    scaled_GD,
    rows_NPD,
    step_2,
    G,
    N,
    row_stride,
    slot_stride,
    momentum,
    decay,
    D: tl.constexpr,
    SLICES: tl.constexpr,
    PRECISION: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_G: tl.constexpr,
    BLOCK_D: tl.constexpr,
):
    """Gradient of a tile of centres, through their normalisation, and SGD with momentum on their rows in place.

    The gradient of a unit centre is the sum over samples of weight * scaled embedding, targets among the weights. A
    program holds whole gradients, because the projection needs their product with the centre, as SLICES accumulators of
    BLOCK_D features each: one accumulator would be read and moved as one, and its registers not suffice.
    `step_2` holds the learning rate, and 0 where the step is to change nothing.
    """
    classes_N = tl.program_id(0) * BLOCK_N + tl.arange(0, BLOCK_N)
    features_D = tl.arange(0, BLOCK_D)
    is_class_N = classes_N < N

    grads = ()
    for _ in tl.static_range(SLICES):
        grads += (tl.zeros((BLOCK_N, BLOCK_D), tl.float32),)
    for start in range(0, G, BLOCK_G):
        samples_G = start + tl.arange(0, BLOCK_G)
        is_sample_G = samples_G < G
        at_GN = samples_G.to(tl.int64)[:, None] * N + classes_N[None, :]
        weight_GN = tl.load(weights_GN + at_GN, is_sample_G[:, None] & is_class_N[None, :], other=0)
        added = ()
        for i in tl.static_range(SLICES):
            at_D = i * BLOCK_D + features_D
            scaled_tile_GD = tl.load(
                scaled_GD + samples_G[:, None] * D + at_D[None, :], is_sample_G[:, None] & (at_D < D)[None, :], other=0
            )
            added += (tl.dot(tl.trans(weight_GN), scaled_tile_GD, grads[i], input_precision=PRECISION),)
        grads = added

    # Through u = w / |w|: what lies across the centre, over its length. Then the decay.
    row_N = classes_N.to(tl.int64) * row_stride
    square_N = tl.zeros((BLOCK_N,), tl.float32)
    along_N = tl.zeros((BLOCK_N,), tl.float32)
    for i in tl.static_range(SLICES):
        at_D = i * BLOCK_D + features_D
        here_ND = is_class_N[:, None] & (at_D < D)[None, :]
        center_ND = tl.load(rows_NPD + row_N[:, None] + at_D[None, :], here_ND, other=0)
        square_N += tl.sum(center_ND * center_ND, axis=1)
        along_N += tl.sum(grads[i] * center_ND, axis=1)
    inverse_N = 1 / tl.maximum(tl.sqrt(square_N), 1e-12)
    shrink_N = decay - along_N * inverse_N * inverse_N * inverse_N
    lr = tl.load(step_2)
    # A step that changes nothing writes no class.
    is_written_N = classes_N < N * tl.load(step_2 + 1)
    # All of a centre is read before any of it is written, also where another thread of the program reads it.
    tl.debug_barrier()
    for i in tl.static_range(SLICES):
        at_D = i * BLOCK_D + features_D
        here_ND = is_class_N[:, None] & (at_D < D)[None, :]
        center_at_ND = rows_NPD + row_N[:, None] + at_D[None, :]
        center_ND = tl.load(center_at_ND, here_ND, other=0)
        grad_ND = grads[i] * inverse_N[:, None] + center_ND * shrink_N[:, None]
        momentum_ND = tl.load(center_at_ND + slot_stride, here_ND, other=0) * momentum + grad_ND
        written_ND = is_written_N[:, None] & (at_D < D)[None, :]
        tl.store(center_at_ND + slot_stride, momentum_ND, written_ND)
        tl.store(center_at_ND, center_ND - lr * momentum_ND, written_ND)
