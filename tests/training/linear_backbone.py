"""A backbone without BatchNorm, so that batches and ranks can be split in any way and still give equal weights."""

import dataclasses
from pathlib import Path

import torch
from torch import nn

from recognition.config import load_config
from recognition.data.loader import Batch

BASE = Path(__file__).resolve().parents[2] / "configs" / "base.py"
SIZE, D = 8, 16


def linear_backbone(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * SIZE * SIZE, D), nn.Tanh(), nn.Linear(D, D))


def config(**changes):
    values = dict(rec="synthetic", network="r_tiny", num_classes=7, num_image=70, num_epoch=1, warmup_epoch=0)
    values |= dict(val_targets=[], embedding_size=D, max_grad_norm=0.0) | changes
    cfg = load_config(BASE, ["rec=synthetic", "num_classes=7", "num_image=70"])
    known = {field.name for field in dataclasses.fields(cfg)}
    assert set(values) <= known, set(values) - known
    return dataclasses.replace(cfg, **values)


def batch(start, stop):
    """Samples start..stop of one fixed stream of random pictures."""
    generator = torch.Generator().manual_seed(5)
    images = torch.randint(0, 256, (64, SIZE, SIZE, 3), dtype=torch.uint8, generator=generator)
    labels = torch.randint(0, 7, (64,), generator=generator)
    ids = torch.arange(start, stop)
    return Batch(images[start:stop], labels[start:stop], ids, torch.zeros_like(ids), 0.0)
