"""Recognisers and pictures that belong together: drawn faces that networks tell apart, at places that are known."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from torch import Tensor

from generation.detection import Found
from recognition.faces.alignment import TEMPLATE_52
from recognition.weights import save_backbone
from tests.settled import faces, settled_backbone

BOX = (20.0, 30.0, 131.0, 141.0)  # where the drawn face of 112 pixels lies in the picture
SIDE = 160


@cache
def weights_file(folder, network: str = "r_tiny", seed: int = 0):
    """A settled recogniser's weights on disk."""
    path = folder / f"{network}-{seed}.safetensors"
    facts = {"network": network, "embedding_size": 32, "image_size": 112}
    save_backbone(path, settled_backbone(network, seed=seed), facts)
    return path


def portraits(*people: int) -> Tensor:
    """Grey pictures img01 (B, 3, 160, 160) with the drawn face of each of these people at `BOX`."""
    img01_BCHW = torch.full((len(people), 3, SIDE, SIDE), 0.35)
    crops = torch.from_numpy(faces()[list(people)]).permute(0, 3, 1, 2) / 255
    img01_BCHW[:, :, 30:142, 20:132] = crops
    return img01_BCHW


def face_of_portraits() -> Found:
    """The face in them, points where the template has them."""
    points_52 = torch.from_numpy(TEMPLATE_52 + np.array(BOX[:2])).float()
    return Found(torch.tensor(BOX), points_52, 1.0)


class Everywhere:
    """A FaceFinder that finds one face in every picture; `calls` holds how many pictures each call had."""

    def __init__(self, found: Found | None = None):
        self.found, self.calls = found or face_of_portraits(), []

    def __call__(self, img01_BCHW, keys=None):
        self.calls.append(len(img01_BCHW))
        return [self.found] * len(img01_BCHW)
