"""The two sides of every comparison of heads: a step of the streamed head, and one of the head that arcface_torch has.

Both get the same random embeddings and labels and end with their centres updated: SGD, momentum 0.9, decay 5e-4.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from recognition.benchmarks.baseline import DenseHead
from recognition.benchmarks.clock import Side, Step
from recognition.head import CombinedMarginLoss, PartialFC
from recognition.head.losses import CurricularFace
from recognition.head.objective import Objective
from recognition.head.rows import RowSGD
from recognition.head.shards import class_range
from recognition.runtime import Runtime

LR, MOMENTUM, WEIGHT_DECAY = 0.1, 0.9, 5e-4
SCALE, MARGIN = 64.0, 0.5
FLOAT_BYTES = 4
DENSE, DENSE_AT_BEST = "baseline", "baseline at its best"
# As arcface_torch trains ArcFace, and a loss that wants the targets' cosines of all ranks first.
OBJECTIVES: dict[str, Callable[[], Objective]] = {
    "arcface": partial(CombinedMarginLoss, SCALE, 1.0, MARGIN, 0.0, margin_gradient="straight_through"),
    "curricularface": partial(CurricularFace, SCALE),
}
_BATCHES = 4  # different ones, taken in turn


@dataclass(frozen=True)
class HeadCase:
    """One setting of a head: classes C, share of them that takes part, global batch G, embedding size D, and how."""

    num_classes: int
    sample_rate: float = 1.0
    batch: int = 256
    embedding_size: int = 512
    ranks: int = 1
    operands: str = "fp32"
    mode: str = "auto"
    centers: str = "memory"
    objective: str = "arcface"

    @property
    def state_bytes(self) -> int:
        """Weights and momentum of the largest shard: what no head can do without."""
        return 2 * class_range(self.num_classes, self.ranks, 0)[1] * self.embedding_size * FLOAT_BYTES

    @property
    def dense_bytes(self) -> int:
        """About what the baseline holds: weights, momentum, gradient, and five buffers of logits."""
        classes = class_range(self.num_classes, self.ranks, 0)[1]
        sampled = max(1, int(classes * self.sample_rate))
        rows = 3 * classes + (2 * sampled if self.sample_rate < 1 else sampled)
        return FLOAT_BYTES * (rows * self.embedding_size + 5 * self.batch * sampled)


def batches(case: HeadCase, runtime: Runtime) -> list[tuple[Tensor, Tensor]]:
    """This rank's share of a few global batches: embeddings (B, D) and labels (B,)."""
    generator = torch.Generator().manual_seed(1)
    share = []
    for _ in range(_BATCHES):
        emb_GD = torch.randn(case.batch, case.embedding_size, generator=generator)
        labels_G = torch.randint(case.num_classes, (case.batch,), generator=generator)
        mine = [tensor.chunk(runtime.world)[runtime.rank].to(runtime.device) for tensor in (emb_GD, labels_G)]
        share.append((mine[0], mine[1]))
    return share


def streamed_head(case: HeadCase, runtime: Runtime) -> PartialFC:
    """The head under test."""
    return PartialFC(
        OBJECTIVES[case.objective](),
        case.embedding_size,
        case.num_classes,
        case.sample_rate,
        runtime=runtime,
        optimizer=RowSGD(momentum=MOMENTUM, weight_decay=WEIGHT_DECAY),
        centers=case.centers,
        mode=case.mode,
        operands=case.operands,
    )


def streamed_step(case: HeadCase, runtime: Runtime, head: PartialFC | None = None) -> Step:
    """A step of the streamed head: prepare, forward, backward, update."""
    head = head or streamed_head(case, runtime)
    share = batches(case, runtime)

    def step(number: int) -> Tensor:
        emb_BD, labels_B = share[number % _BATCHES]
        head.prepare(number, batch_size=len(emb_BD))
        loss = head(emb_BD.detach().requires_grad_(), labels_B, number).loss
        loss.backward()
        head.update(LR)
        return loss.detach()

    return step


def dense_head(case: HeadCase, runtime: Runtime) -> DenseHead:
    """The baseline at the same setting; it knows no operands, modes or places for its centres."""
    return DenseHead(case.embedding_size, case.num_classes, case.sample_rate, runtime=runtime, s=SCALE, margin=MARGIN)


def dense_step(case: HeadCase, runtime: Runtime, head: DenseHead | None = None, *, fused: bool = False) -> Step:
    """A step of the baseline: forward, backward, torch.optim.SGD as arcface_torch calls it, or its fused kernel."""
    head = head or dense_head(case, runtime)
    share = batches(case, runtime)
    optimizer = dense_optimizer(head, fused=fused)

    def step(number: int) -> Tensor:
        emb_BD, labels_B = share[number % _BATCHES]
        loss = head(emb_BD.detach().requires_grad_(), labels_B)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return loss.detach()

    return step


def dense_optimizer(module: torch.nn.Module, *, fused: bool = False) -> torch.optim.SGD:
    """SGD with nothing said about its kernels, which is the fair baseline: it is what arcface_torch's users have."""
    return torch.optim.SGD(
        module.parameters(), lr=LR, momentum=MOMENTUM, weight_decay=WEIGHT_DECAY, fused=True if fused else None
    )


def sides_of(cases: Sequence[HeadCase], *, baseline: bool = True) -> dict[str, Side]:
    """Streamed cases of one size by `label`, beside the baseline as arcface_torch's users have it and at its best.

    Users have torch's default SGD, and the C library's way with freed memory: every buffer of logits is mapped and
    zeroed by the kernel anew. At its best the baseline has the fused SGD, and keeps freed memory as training does here.
    """
    sides = {}
    if baseline:
        sides[DENSE] = Side(partial(dense_step, cases[0]), keeps_memory=False)
        sides[DENSE_AT_BEST] = Side(partial(dense_step, cases[0], fused=True))
    return sides | {label(case): Side(partial(streamed_step, case)) for case in cases}


def label(case: HeadCase) -> str:
    """How a streamed case computes."""
    return f"{case.operands} {case.mode}"
