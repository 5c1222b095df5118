"""Networks that were not trained, yet tell pictures apart as trained ones do: by the statistics of faces."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from torch import nn

from recognition.backbones import build_backbone
from recognition.data.sources import SyntheticSource
from recognition.data.transforms import to_input


@cache
def faces(count: int = 16, size: int = 112) -> np.ndarray:
    """Drawn faces of as many people, uint8 (N, size, size, 3)."""
    source = SyntheticSource(num_classes=count, num_image=count, seed=1, image_size=size)
    return np.stack([source.read(index).payload for index in range(count)])


def settled_backbone(name: str, embedding_size: int = 32, *, seed: int = 0) -> nn.Module:
    """That network as it is initialised, batch norms with the statistics of drawn faces, slopes and scales spread."""
    torch.manual_seed(seed)
    module = build_backbone(name, embedding_size)
    with torch.no_grad():
        for part in module.modules():
            if isinstance(part, nn.modules.batchnorm._BatchNorm):
                part.momentum = None  # the mean over all batches
            if isinstance(part, nn.PReLU):
                part.weight.uniform_(0.1, 0.4)
        norms = [part for part in module.modules() if isinstance(part, nn.modules.batchnorm._BatchNorm)]
        norms[-1].bias.fill_(1.0)  # embeddings have something in common, as those of trained networks do
        for _ in range(2):
            module.train()(to_input(torch.from_numpy(faces())))
    return module.eval().requires_grad_(False)
