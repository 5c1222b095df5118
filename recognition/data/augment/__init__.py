"""Pictures changed at random on the device, each as (seed, epoch, sample) says, whoever computes it.

The order is fixed, whatever the order in the config: resize, blur, hsv and grey, as arcface_torch's DALI pipeline has
them, then crop, erase, lowres and mask; the flip and the scale to [-1, 1] come last (transforms.py).

Every kind makes an 8-bit picture of an 8-bit picture. Weights are whole numbers over a power of two, so that all sums
of pixels are exact: no order of summation, no batch, no number of threads and no device changes a bit of the result.
"""

from __future__ import annotations

from recognition.data.augment.apply import augmented
from recognition.data.augment.kinds import ARCFACE_TORCH, KINDS, Augmentation, parse_augment

__all__ = ["ARCFACE_TORCH", "KINDS", "Augmentation", "augmented", "parse_augment"]
