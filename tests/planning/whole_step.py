"""Training steps as a run takes them, at any number of ranks, without data or files."""

from __future__ import annotations

import torch
from torch.nn.parallel import DistributedDataParallel

from recognition.backbones import build_backbone
from recognition.data.transforms import to_input
from recognition.head import CombinedMarginLoss, PartialFC
from recognition.head.rows import RowAdamW, RowSGD
from recognition.planning.setting import Setting
from recognition.runtime import Runtime


def embed(backbone: torch.nn.Module, images_BHWC: torch.Tensor, flip_B: torch.Tensor, precision: str) -> torch.Tensor:
    x_BCHW = to_input(images_BHWC, flip_B)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision != "fp32"):
        return backbone(x_BCHW)


def uint8_batch(batch: int, image_size: int) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.zeros(batch, image_size, image_size, 3, dtype=torch.uint8), torch.zeros(batch, dtype=torch.bool)


def take_steps(setting: Setting, runtime: Runtime | None = None, *, steps: int = 2) -> tuple:
    """Build everything and train; returns what holds the memory."""
    runtime = runtime or Runtime()
    s = setting
    backbone = build_backbone(s.network, s.embedding_size, image_size=s.image_size)
    backbone.to(memory_format=torch.channels_last).train()
    replica = backbone
    if runtime.world > 1:
        replica = DistributedDataParallel(backbone, gradient_as_bucket_view=True)
    head = PartialFC(
        CombinedMarginLoss(64, 1, 0.5, 0),
        s.embedding_size,
        s.identities,
        s.sample_rate,
        runtime=runtime,
        optimizer=RowSGD() if s.optimizer == "sgd" else RowAdamW(),
        mode=s.mode,
        operands=s.operands,
    )
    trainable = [parameter for parameter in backbone.parameters() if parameter.requires_grad]
    if s.optimizer == "sgd":
        optimizer = torch.optim.SGD(trainable, lr=0.1, momentum=s.momentum, fused=True)
    else:
        optimizer = torch.optim.AdamW(trainable, lr=0.1, fused=True)
    labels_B = (torch.arange(s.batch) + runtime.rank * s.batch) % s.identities
    for step in range(steps):
        head.prepare(step, batch_size=s.batch, batches=s.gradient_acc)
        for _ in range(s.gradient_acc):
            images_BHWC, flip_B = uint8_batch(s.batch, s.image_size)
            emb_BD = embed(replica, images_BHWC, flip_B, s.precision)
            head(emb_BD, labels_B, step).loss.backward()
        head.update(0.1)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    return replica, head, optimizer
