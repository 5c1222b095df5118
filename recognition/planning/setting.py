"""A training run as far as memory and time depend on it."""

from __future__ import annotations

import math
from dataclasses import dataclass

from recognition.backbones import require_known
from recognition.config import TrainConfig
from recognition.errors import InputError
from recognition.head.shards import class_range, num_sampled

PRECISIONS = ("fp32", "bf16", "fp16")
OPTIMIZERS = ("sgd", "adamw")
CENTERS = ("memory", "host", "mmap")
MODES = ("auto", "keep", "recompute")
OPERANDS = ("auto", "fp32", "tf32", "bf16")


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What to plan for; InputError when a value makes no sense. `batch` counts images per rank and micro-step."""

    identities: int
    network: str = "r50"
    ranks: int = 1
    batch: int = 128
    gradient_acc: int = 1
    sample_rate: float = 1.0
    optimizer: str = "sgd"
    momentum: float = 0.9
    precision: str = "fp32"
    embedding_size: int = 512
    image_size: int = 112
    dropout: float = 0.0
    gradient_checkpointing: bool = False
    moving_average: bool = False
    subcenters: int = 1
    centers: str = "memory"
    mode: str = "auto"
    operands: str = "auto"

    def __post_init__(self) -> None:
        require_known(self.network)
        for name in ("identities", "ranks", "batch", "gradient_acc", "embedding_size", "image_size", "subcenters"):
            if getattr(self, name) < 1:
                raise InputError(f"{name}={getattr(self, name)} must be at least 1")
        if self.ranks > self.identities:
            raise InputError(
                f"ranks={self.ranks} is more than identities={self.identities}: each rank needs a class; "
                f"use at most {self.identities} GPUs"
            )
        if not (math.isfinite(self.sample_rate) and 0 < self.sample_rate <= 1):
            raise InputError(f"sample_rate={self.sample_rate} must lie in (0, 1]; 1 computes with every class centre")
        choices = {"precision": PRECISIONS, "optimizer": OPTIMIZERS, "centers": CENTERS, "mode": MODES}
        for name, known in (choices | {"operands": OPERANDS}).items():
            if getattr(self, name) not in known:
                raise InputError(f"{name}={getattr(self, name)!r} must be one of {', '.join(known)}")

    @property
    def global_batch(self) -> int:
        """G, images of all ranks."""
        return self.batch * self.ranks

    @property
    def shard(self) -> int:
        """K, classes of the rank that has most."""
        return class_range(self.identities, self.ranks, 0)[1]

    @property
    def drawn(self) -> int:
        """Classes of the shard that a step draws, all at rate 1."""
        return self.shard if self.sample_rate == 1 else num_sampled(self.shard, self.sample_rate)

    @property
    def active(self) -> int:
        """S, class slots of a sweep: at a rate below 1 there is one more for each image, for positives not drawn."""
        return self.drawn if self.sample_rate == 1 else self.drawn + self.global_batch * self.gradient_acc

    @property
    def row_bytes(self) -> int:
        """Bytes of a class in the table: its centres, and what the optimizer remembers of each."""
        return self.subcenters * (1 + centre_slots(self.optimizer)) * self.embedding_size * 4


def centre_slots(optimizer: str) -> int:
    """Numbers that the centres' optimizer remembers for each number of a centre."""
    return 2 if optimizer == "adamw" else 1


def setting_of(cfg: TrainConfig, *, ranks: int, identities: int | None = None) -> Setting:
    """The setting of a training config; InputError when neither it nor `identities` says how many classes there are."""
    if identities is None and cfg.num_classes is None:
        raise InputError("the config leaves num_classes to the data; say how many with --identities N")
    return Setting(
        identities=identities if identities is not None else cfg.num_classes,
        network=cfg.network,
        ranks=ranks,
        batch=cfg.batch_size,
        gradient_acc=cfg.gradient_acc,
        sample_rate=cfg.sample_rate,
        optimizer=cfg.optimizer,
        momentum=cfg.momentum,
        precision=cfg.precision_used,
        embedding_size=cfg.embedding_size,
        image_size=cfg.image_size,
        dropout=cfg.dropout,
        gradient_checkpointing=cfg.gradient_checkpointing,
        moving_average=cfg.ema_decay > 0,
        subcenters=cfg.sub_centers if cfg.loss == "subcenter_arcface" else 1,
        centers=cfg.centers.partition(":")[0],
        mode=cfg.head_mode,
        operands=cfg.head_operands,
    )
