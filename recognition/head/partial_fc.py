"""The margin softmax over classes that are sharded over the ranks, with sampled negatives (PartialFC).

gather embeddings and labels -> cosines against the shard -> margin -> one sum over the ranks -> loss, on every rank.

B local batch, G = B * W global batch, W ranks, D embedding, C classes, K classes of this shard, S of them sampled,
P rows of the global batch whose class this shard owns.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

from recognition.collectives import all_gather, all_reduce_sum, gather_rows
from recognition.errors import InputError
from recognition.head.centers import initial_centers
from recognition.head.margins import CombinedMarginLoss
from recognition.head.sampling import sample_classes
from recognition.head.shards import class_range, local_labels
from recognition.runtime import Runtime

# A gradient divides by rows times the sum of exponentials: e^18 rows stay away from the subnormal numbers.
_LOG_ROWS = 18.0


class HeadOutput(NamedTuple):
    """Scalars of one step, equal on all ranks: the mean loss, and the mean cosine of targets before the margin."""

    loss: torch.Tensor
    target_cos: torch.Tensor


class PartialFC(nn.Module):
    """Class centres of this rank's shard, and the loss of the whole batch against the centres of all ranks.

    PartialFC is An et al. 2022, "Killing Two Birds with One Stone". Two gradients leave it, and they differ:
    - embeddings get that of the mean loss of this rank's samples, because DDP averages over the ranks afterwards;
    - centres get that of the mean loss of the global batch, because each lives on one rank and nothing averages it.
    Four collectives a step for any W: embeddings, labels, sums, and the gradient of the embeddings.
    Not supported: batches of different size on different ranks, double backward, a step that never waits for the device
    (the check of the batch, the rows with a target and the sampling read from it).
    """

    def __init__(
        self,
        margin_loss: CombinedMarginLoss,
        embedding_size: int,
        num_classes: int,
        sample_rate: float = 1.0,
        *,
        runtime: Runtime,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if embedding_size < 1:
            raise InputError(f"embedding_size={embedding_size} must be 1 or more")
        if num_classes < 1:
            raise InputError(f"num_classes={num_classes} must be 1 or more")
        if not 0 < sample_rate <= 1:
            raise InputError(f"sample_rate={sample_rate} must lie in (0, 1]; 1 uses all classes in every step")
        self.margin_loss = margin_loss
        self.embedding_size, self.num_classes, self.sample_rate = embedding_size, num_classes, float(sample_rate)
        self.runtime, self.seed = runtime, seed
        self.class_start, self.num_local = class_range(num_classes, runtime.world, runtime.rank)
        sum_range(margin_loss.s, num_classes, torch.float32)
        self.weight = nn.Parameter(initial_centers(self.class_start, self.num_local, embedding_size, seed=seed))

    def forward(self, emb_BD: torch.Tensor, labels_B: torch.Tensor, step: int) -> HeadOutput:
        """Loss of float embeddings (B, D) with int64 labels (B,) in [0, C); `step` keys the sampling.

        InputError on every rank when a label of any rank is out of range or an embedding is not finite.
        """
        with torch.autocast(emb_BD.device.type, enabled=False):
            emb_GD = gather_rows(emb_BD.to(self.weight.dtype), self.runtime)
            labels_G = all_gather(labels_B.long(), self.runtime)
            check_batch(emb_GD, labels_G, num_classes=self.num_classes, world=self.runtime.world)
            if emb_GD.requires_grad and self.runtime.world > 1:
                # From the gradient of the global mean to that of this rank's mean; see the class.
                emb_GD.register_hook(lambda grad_GD: grad_GD * self.runtime.world)
            centers_SD, labels_G = self._sampled(local_labels(labels_G, self.class_start, self.num_local), step)
            cos_GS = F.linear(F.normalize(emb_GD), F.normalize(centers_SD))
            return self._loss(cos_GS, labels_G)

    def _sampled(self, labels_G: torch.Tensor, step: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Centres (S, D) that take part in this step, and the labels as rows of them (-1: not in this shard)."""
        if self.sample_rate == 1:
            return self.weight, labels_G
        key = {"seed": self.seed, "step": step, "rank": self.runtime.rank}
        is_here_G = labels_G >= 0
        index_S = sample_classes(labels_G[is_here_G], self.num_local, self.sample_rate, **key).to(labels_G.device)
        return self.weight[index_S], torch.where(is_here_G, torch.searchsorted(index_S, labels_G), -1)

    def _loss(self, cos_GS: torch.Tensor, labels_G: torch.Tensor) -> HeadOutput:
        """Loss from this shard's cosines: log(1 + sum over non-targets e^(z - z_target)), averaged.

        The target is left out of the sum before the exponential, not subtracted from it afterwards: the difference
        would lose all its digits once the target dominates.
        """
        s = self.margin_loss.s
        dtype, offset = sum_range(s, self.num_classes, cos_GS.dtype)
        rows_P = torch.nonzero(labels_G >= 0).squeeze(1)
        at_target = (rows_P, labels_G[rows_P])
        cos_P = cos_GS[at_target]

        z_GS = (self.margin_loss.others(cos_GS).to(dtype) * s).sub_(offset)
        z_GS[at_target] = -math.inf
        z_P = self.margin_loss.target(cos_P).to(dtype) * s - offset

        zero_G = z_GS.new_zeros(len(labels_G))
        columns = (
            z_GS.exp_().sum(1),
            zero_G.index_put((rows_P,), z_P),
            zero_G.index_put((rows_P,), cos_P.detach().to(dtype)),
        )
        others_G, z_G, cos_G = all_reduce_sum(torch.stack(columns), self.runtime)

        # No non-target anywhere (one class, or one sampled) makes this log(0): softplus gives the right loss, 0, and
        # what the logarithm sends back ends at the targets, which are all there is and were overwritten above.
        loss_G = F.softplus(others_G.log() - z_G, threshold=50)
        return HeadOutput(loss_G.mean().to(cos_GS.dtype), cos_G.detach().mean().to(cos_GS.dtype))


def sum_range(scale: float, num_classes: int, dtype: torch.dtype) -> tuple[torch.dtype, float]:
    """Number format and constant offset in which sums of e^(z - offset), |z| <= scale, neither overflow nor vanish.

    Cosines bound the logits, so that no pass over them is needed to find their maximum. Up to a scale of about 70 the
    format stays as given; beyond, float64 reaches far enough.
    """
    for candidate in (dtype, torch.float64):
        info = torch.finfo(candidate)
        offset = max(0.0, scale + math.log(num_classes) - (math.log(info.max) - _LOG_ROWS))
        if -scale - offset > math.log(info.tiny):
            return candidate, offset
    raise InputError(f"scale={scale} is too large: e^scale leaves the range of float64; 64 is usual")


def check_batch(emb_GD: torch.Tensor, labels_G: torch.Tensor, *, num_classes: int, world: int) -> None:
    """InputError naming rank, sample and label of the first bad row; the gathered batch makes all ranks agree on it."""
    is_label_bad_G = (labels_G < 0) | (labels_G >= num_classes)
    bad_G = is_label_bad_G | ~torch.isfinite(emb_GD.detach()).all(1)
    if not bad_G.any():
        return
    row = int(bad_G.nonzero()[0])
    rank, sample = divmod(row, len(labels_G) // world)
    where = f"rank {rank}, sample {sample} of its batch, label {int(labels_G[row])}"
    more = f" ({int(bad_G.sum())} bad samples in this batch)"
    if is_label_bad_G[row]:
        raise InputError(f"{where}: labels must lie in [0, {num_classes}); correct num_classes or the data{more}")
    raise InputError(
        f"{where}: the embedding is not finite; the backbone has diverged: lower lr, lengthen warmup_epoch, "
        f"or use precision=bf16{more}"
    )
