"""Pictures edited by a generator, as files keep them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from generation.metrics import as_bytes
from generation.pictures import batch_of, pixels_of
from generation.stargan.attributes import shown_targets
from generation.stargan.networks import StarGANGenerator
from generation.stargan.pictures import AttributePictures
from recognition.spread import spread

BATCH = 16
SHOWN = 8  # pictures of a sheet of samples


@torch.no_grad()
def edited(generator: StarGANGenerator, img01_BCHW: Tensor, targets_BA: np.ndarray | Tensor) -> Tensor:
    """Pictures img01 with the attributes `targets_BA`, rounded to bytes, on the CPU, wherever the generator is."""
    device = next(generator.parameters()).device
    targets_BA = torch.as_tensor(targets_BA).float()
    made = [
        (generator(pictures.to(device) * 2 - 1, targets.to(device)) + 1) / 2
        for pictures, targets in zip(img01_BCHW.split(BATCH), targets_BA.split(BATCH))
    ]
    return as_bytes(torch.cat(made).cpu())


def sample_rows(
    generator: StarGANGenerator, pictures: AttributePictures, shown: int = SHOWN
) -> tuple[list[str], list[list[np.ndarray]]]:
    """Titles of columns, and rows of uint8 (S, S, 3): a picture, and what the generator makes of it for each target."""
    chosen = spread(len(pictures), shown)
    img01_BCHW = batch_of([pictures.read(int(index)) for index in chosen])
    targets = shown_targets(pictures.names, pictures.labels_NA[chosen], exclusive=pictures.exclusive)
    columns = [img01_BCHW, *(edited(generator, img01_BCHW, target_NA) for _, target_NA in targets)]
    pixels: Sequence[np.ndarray] = [pixels_of(column).numpy() for column in columns]
    return ["picture", *(title for title, _ in targets)], [list(row) for row in zip(*pixels)]
