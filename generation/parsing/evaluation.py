"""How well a parser does on pictures with masks."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from generation.parsing.bisenet import BiSeNet
from generation.parsing.masks import MaskedPictures
from generation.parsing.measures import counts, intersection_over_union, mean_over_present
from generation.pictures import batch_of
from recognition.embedding.over_ranks import evaluating
from recognition.heads.classes import NAMES

BATCH = 8


@torch.inference_mode()
def classes_of(net: BiSeNet, pixels: list[np.ndarray], device: torch.device) -> np.ndarray:
    """The likeliest class of each pixel of pictures uint8 (H, W, 3) of one size: uint8 (N, H, W)."""
    found = [
        net(batch_of(pixels[start : start + BATCH]).to(device)).argmax(1).to(torch.uint8).cpu().numpy()
        for start in range(0, len(pixels), BATCH)
    ]
    return np.concatenate(found)


def evaluate(net: BiSeNet, pictures: MaskedPictures, *, device: torch.device) -> np.ndarray:
    """Pixels of each class (row) that were found to be of each (column), int64 (C, C)."""
    total_CC = np.zeros((net.n_classes, net.n_classes), np.int64)
    with evaluating(net):
        for start in range(0, len(pictures), BATCH):
            some = [pictures.read(index) for index in range(start, min(start + BATCH, len(pictures)))]
            found_BHW = classes_of(net, [pixels for pixels, _ in some], device)
            total_CC += counts(np.stack([mask for _, mask in some]), found_BHW, net.n_classes)
    return total_CC


def figures(counts_CC: np.ndarray) -> dict[str, Any]:
    """`miou` over the classes that occur, `accuracy` of all pixels, and `iou` of each class by name, None for others.

    For strict JSON.
    """
    iou_C = intersection_over_union(counts_CC)
    present_C = counts_CC.sum(1) > 0
    of_class = {name: float(iou) if is_there else None for name, iou, is_there in zip(NAMES, iou_C, present_C)}
    accuracy = float(np.trace(counts_CC) / max(1, counts_CC.sum()))
    return {"miou": mean_over_present(counts_CC), "accuracy": accuracy, "iou": of_class}
