"""Which rank owns which classes: contiguous ranges, the first C mod W ranks one class longer (arcface_torch's rule)."""

from __future__ import annotations

import torch


def class_range(num_classes: int, world: int, rank: int) -> tuple[int, int]:
    """First class of a rank's shard and the number of its classes, which is 0 on some ranks when C < W."""
    whole, longer = divmod(num_classes, world)
    return whole * rank + min(rank, longer), whole + (rank < longer)


def num_sampled(num_local: int, rate: float) -> int:
    """How many of a shard's classes a step uses, before positives ask for more: rate * K, but 1 at least if K > 0."""
    return min(num_local, max(1, int(rate * num_local)))


def local_labels(labels_G: torch.Tensor, class_start: int, num_local: int) -> torch.Tensor:
    """Labels int64 (G,) counted from the shard's first class; -1 where another rank owns the class."""
    local_G = labels_G - class_start
    return torch.where((local_G >= 0) & (local_G < num_local), local_G, -1)
