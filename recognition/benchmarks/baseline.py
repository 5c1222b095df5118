"""A head that works as PartialFC V2 of arcface_torch does: what the streamed head is measured against.

Written from a description of what that head does in a step, not from its code, and with its costs: every logit of the
shard is materialised in float32 and walked some thirty times, sampling sorts all classes of the shard, the gradient of
the centres is dense, and so is the optimizer that the caller puts behind it.

B local batch, G = B * W global batch, W ranks, D embedding, K classes of this shard, S of them sampled, P rows of the
global batch whose class this shard owns.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from recognition.head.shards import class_range
from recognition.runtime import Runtime

INITIAL_STD = 0.01
# The logged loss ends at -log(1e-30) = 69.08, the gradient does not.
SMALLEST_PROBABILITY = 1e-30


class DenseHead(nn.Module):
    """ArcFace over sharded classes in plain autograd; `weight` (K, D) gets a dense gradient whatever the sample rate.

    The gradients follow the convention of `PartialFC`: embeddings get that of the mean loss of this rank's samples.
    """

    def __init__(
        self,
        embedding_size: int,
        num_classes: int,
        sample_rate: float = 1.0,
        *,
        runtime: Runtime,
        s: float = 64.0,
        margin: float = 0.5,
    ) -> None:
        super().__init__()
        self.sample_rate, self.runtime, self.s, self.margin = sample_rate, runtime, s, margin
        self.class_start, self.num_local = class_range(num_classes, runtime.world, runtime.rank)
        weight_KD = torch.empty(self.num_local, embedding_size, device=runtime.device)
        self.weight = nn.Parameter(weight_KD.normal_(0, INITIAL_STD))

    def forward(self, emb_BD: Tensor, labels_B: Tensor, *, index_S: Tensor | None = None) -> Tensor:
        """Mean loss, a scalar, of embeddings (B, D) with int64 labels (B,); `index_S` replaces the sample to draw."""
        emb_GD = _Gather.apply(emb_BD.float(), self.runtime)
        labels_G = _gathered(labels_B, self.runtime)
        is_here_G = (self.class_start <= labels_G) & (labels_G < self.class_start + self.num_local)
        labels_G[~is_here_G] = -1
        labels_G[is_here_G] -= self.class_start
        weight_SD = self.weight
        if self.sample_rate < 1:
            if index_S is None:
                index_S = draw_classes(labels_G[is_here_G], self.num_local, self.sample_rate)
            labels_G[is_here_G] = torch.searchsorted(index_S, labels_G[is_here_G])
            weight_SD = self.weight[index_S]
        cos_GS = F.linear(F.normalize(emb_GD), F.normalize(weight_SD)).clamp(-1, 1)
        logits_GS = self._with_margin(cos_GS, labels_G) * self.s
        return _ShardedCrossEntropy.apply(logits_GS, labels_G, self.runtime)

    def _with_margin(self, cos_GS: Tensor, labels_G: Tensor) -> Tensor:
        """cos(theta + margin) at the targets, cos(theta) elsewhere; autograd takes both for the cosine itself."""
        rows_P = torch.where(labels_G >= 0)[0]
        with torch.no_grad():
            target_P = torch.arccos(cos_GS[rows_P, labels_G[rows_P]])
            cos_GS.arccos_()
            cos_GS[rows_P, labels_G[rows_P]] = target_P + self.margin
            cos_GS.cos_()
        return cos_GS


def draw_classes(positives_P: Tensor, num_local: int, rate: float) -> Tensor:
    """Sorted int64 index (S,) of the classes in use: positives and the negatives with the largest random numbers.

    Positives that outnumber the sample are all of it.
    """
    positives = torch.unique(positives_P)
    wanted = int(rate * num_local)
    if wanted < len(positives):
        return positives
    draw_K = torch.rand(num_local, device=positives.device)
    draw_K[positives] = 2.0
    return torch.topk(draw_K, wanted).indices.sort().values


def _gathered(rows: Tensor, runtime: Runtime) -> Tensor:
    """Rows of all ranks, a copy even of those of a single one."""
    if runtime.world == 1:
        return rows.detach().clone()
    parts = [torch.empty_like(rows) for _ in range(runtime.world)]
    dist.all_gather(parts, rows.detach().contiguous())
    return torch.cat(parts)


class _Gather(torch.autograd.Function):
    """Rows of all ranks; backward sends each rank its gradient with a reduce of its own, times W for DDP's mean."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, runtime: Runtime) -> Tensor:
        ctx.runtime = runtime
        return _gathered(rows, runtime)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        runtime = ctx.runtime
        if runtime.world == 1:
            return grad, None
        parts = [part.contiguous() for part in grad.chunk(runtime.world)]
        works = [dist.reduce(part, dst=rank, async_op=True) for rank, part in enumerate(parts)]
        for work in works:
            work.wait()
        return parts[runtime.rank] * runtime.world, None


class _ShardedCrossEntropy(torch.autograd.Function):
    """Softmax cross entropy over logits that are spread over the ranks; the probabilities take the logits' place."""

    @staticmethod
    def forward(ctx: Any, logits_GS: Tensor, labels_G: Tensor, runtime: Runtime) -> Tensor:
        probability_GS = logits_GS.detach()
        highest_G1 = _reduced(_highest(logits_GS), runtime, "max")
        probability_GS.sub_(highest_G1).exp_()
        probability_GS.div_(_reduced(probability_GS.sum(1, keepdim=True), runtime, "sum"))
        rows_P = torch.where(labels_G >= 0)[0]
        target_G = logits_GS.new_zeros(len(labels_G))
        target_G[rows_P] = probability_GS[rows_P, labels_G[rows_P]]
        _reduced(target_G, runtime, "sum")
        ctx.save_for_backward(probability_GS, labels_G, rows_P)
        return target_G.clamp_min(SMALLEST_PROBABILITY).log().mean().neg()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        probability_GS, labels_G, rows_P = ctx.saved_tensors
        one_hot_PS = probability_GS.new_zeros(len(rows_P), probability_GS.shape[1])
        one_hot_PS.scatter_(1, labels_G[rows_P, None], 1)
        probability_GS[rows_P] -= one_hot_PS
        probability_GS.div_(len(labels_G))
        return probability_GS * grad.item(), None, None


def _highest(logits_GS: Tensor) -> Tensor:
    """Largest logit of each row (G, 1); a shard without classes has none."""
    if logits_GS.shape[1] == 0:
        return logits_GS.new_full((len(logits_GS), 1), -torch.inf)
    return logits_GS.max(1, keepdim=True).values


def _reduced(values: Tensor, runtime: Runtime, how: str) -> Tensor:
    """`values` summed, or their maximum taken, over the ranks in place."""
    if runtime.world > 1:
        dist.all_reduce(values, op={"sum": dist.ReduceOp.SUM, "max": dist.ReduceOp.MAX}[how])
    return values
