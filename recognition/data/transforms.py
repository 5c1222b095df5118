"""What happens to images on the device: a flip keyed by (seed, epoch, sample), and the scale to [-1, 1]."""

from __future__ import annotations

import numpy as np
import torch

from recognition.permutation import permutation_keys, permute

CHANNEL_ORDER = "RGB"
MEAN = 127.5
STD = 127.5
# What every stored model says about the pictures it takes.
INPUT_FACTS = {"channel_order": CHANNEL_ORDER, "mean": MEAN, "std": STD}
FLIP_KEY = int.from_bytes(b"flip", "big")


def flip_mask(ids_B: torch.Tensor, epochs_B: torch.Tensor, seed: int) -> torch.Tensor:
    """Which samples to mirror (bool[B], on the CPU): a fair coin per (seed, epoch, sample), whoever reads it."""
    ids, epochs = ids_B.cpu().numpy(), epochs_B.cpu().numpy()
    flip = np.empty(ids.shape, bool)
    for epoch in np.unique(epochs):
        here = epochs == epoch
        # A keyed permutation of a huge range is a hash: the upper half of the images says "flip".
        flip[here] = permute(ids[here], 1 << 62, permutation_keys(seed, epoch, FLIP_KEY)) >= 1 << 61
    return torch.from_numpy(flip)


def to_input(images_BHWC: torch.Tensor, flip_B: torch.Tensor | None = None) -> torch.Tensor:
    """uint8 images -> x_BCHW float32 = (images - 127.5) / 127.5, channels_last, mirrored where flip_B is true."""
    images_BCHW = images_BHWC.permute(0, 3, 1, 2)  # the bytes of NHWC are channels_last already
    if flip_B is not None:
        flip_B = flip_B.to(images_BHWC.device, non_blocking=True)
        images_BCHW = torch.where(flip_B[:, None, None, None], images_BCHW.flip(3), images_BCHW)
    return images_BCHW.float().sub_(MEAN).div_(STD)
