"""Files of networks with drawn weights: what is seen through them is nothing that people see, but it is something."""

from __future__ import annotations

from pathlib import Path

import torch

from generation.quality.inception import InceptionV3
from generation.quality.lpips import alexnet_layers
from recognition.backbones import build_backbone
from recognition.weights import save_backbone
from tests.generation.quality.drawn_weights import drawn_state


def write_recogniser(path: Path, side: int) -> Path:
    """A recogniser of small pictures."""
    torch.manual_seed(0)
    network = build_backbone("r_tiny", 32, image_size=side)
    save_backbone(path, network, {"network": "r_tiny", "embedding_size": 32, "image_size": side})
    return path


def write_inception(path: Path) -> Path:
    """In the layout of the published file."""
    torch.save(drawn_state(InceptionV3()), path)
    return path


def write_alexnet(path: Path) -> Path:
    """In torchvision's layout."""
    layers = alexnet_layers()
    torch.save({f"features.{key}": value for key, value in drawn_state(layers).items()}, path)
    return path
