"""Gradient checkpointing: keep the inputs of a few segments, recompute what lies between them in backward."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from types import TracebackType

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint


class FrozenStatistics:
    """Context in which batch norms normalise by the batch as in training, but leave their running statistics alone.

    Momentum 0 makes the update `running = 1 * running + 0 * batch`. Passing no running statistics at all would be
    simpler, but then the recomputed graph saves fewer tensors than the first one and checkpointing refuses it.
    It can be entered again: a graph that is kept for a second backward is recomputed a second time.
    """

    def __init__(self, modules: Sequence[nn.Module]) -> None:
        self.norms = [norm for module in modules for norm in module.modules() if isinstance(norm, _BatchNorm)]

    def __enter__(self) -> None:
        self.kept = [(norm.momentum, norm.num_batches_tracked) for norm in self.norms]
        for norm in self.norms:
            norm.momentum, norm.num_batches_tracked = 0.0, None

    def __exit__(self, kind: type | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        for norm, (momentum, batches) in zip(self.norms, self.kept):
            norm.momentum, norm.num_batches_tracked = momentum, batches


def run_checkpointed(blocks: Sequence[nn.Module], x: Tensor, segments: int) -> Tensor:
    """Run `blocks` one after another on `x`, storing only what enters each of `segments` nearly equal runs of them.

    Chen et al., "Training Deep Nets with Sublinear Memory Cost" (arXiv:1604.06174), section 4.
    Same outputs, gradients and running statistics as running the blocks plainly.
    """
    blocks = list(blocks)
    segments = min(segments, len(blocks))
    starts = [len(blocks) * i // segments for i in range(segments + 1)]
    for start, end in zip(starts, starts[1:]):
        x = _checkpoint_segment(blocks[start:end], x)
    return x


def _checkpoint_segment(segment: list[nn.Module], x: Tensor) -> Tensor:
    def run(x: Tensor) -> Tensor:
        for block in segment:
            x = block(x)
        return x

    if torch.compiler.is_compiling():
        # The compiler never repeats the update of a buffer, and cannot trace a context of ours.
        return checkpoint(run, x, use_reentrant=False)
    return checkpoint(run, x, use_reentrant=False, context_fn=lambda: (nullcontext(), FrozenStatistics(segment)))
