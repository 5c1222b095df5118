"""A batch -> the same batch with the pictures changed that the draw has chosen."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from recognition.data.augment.draws import Draws
from recognition.data.augment.kinds import KINDS, Augmentation


def augmented(
    images_BHWC: torch.Tensor,
    ids_B: torch.Tensor,
    epochs_B: torch.Tensor,
    augmentations: Sequence[Augmentation],
    *,
    seed: int,
) -> torch.Tensor:
    """Pictures uint8, square, on any device, as `augmentations` change them; sample ids and epochs int64 on the host.

    The batch that came is left as it is. What becomes of a picture depends on seed, epoch, id and the augmentations.
    """
    for augmentation in augmentations:
        draws = Draws.of(ids_B, epochs_B, seed=seed, purpose=augmentation.name)
        # Chosen on the host, which knows the ids: only pictures that change are worked on, and nothing waits.
        places = np.flatnonzero(draws.between(0, 1).numpy() < augmentation.probability)
        if not places.size:
            continue
        places_N = torch.from_numpy(places).to(images_BHWC.device, non_blocking=True)
        images_NCHW = images_BHWC.index_select(0, places_N).permute(0, 3, 1, 2).contiguous().float()
        images_NCHW = KINDS[augmentation.name].change(images_NCHW, draws.only(places), **augmentation.ranges)
        images_BHWC = images_BHWC.index_copy(0, places_N, images_NCHW.to(torch.uint8).permute(0, 2, 3, 1))
    return images_BHWC
