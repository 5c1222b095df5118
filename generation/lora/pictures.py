"""Pictures of a run: read from files, and generated ones as bytes."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from generation.identity.flow import Predict, unrolled_estimate
from generation.identity.latents import decode
from generation.pictures import img01_of, pixels_of, read_pixels
from recognition.data.decode import open_image


def read_picture(path: Path, side: int, *, fills: bool) -> Tensor:
    """A picture file as img01 (3, side, side): scaled to fill the square and cut, or to fit into it on black.

    InputError, with the path, for a missing or damaged one.
    """
    return img01_of(read_pixels(path, side, fills=fills))


def is_square(path: Path) -> bool:
    """Whether a picture file has equal sides; InputError, with the path, for what is no picture."""
    with open_image(path.read_bytes(), lambda: str(path)) as image:
        return image.width == image.height


@torch.no_grad()
def generated(predict: Predict, vae: nn.Module, noise_BCHW: Tensor, *, steps: int) -> Tensor:
    """Pictures uint8 (B, S, S, 3) from latents that are all noise, in `steps` equal Euler steps."""
    ones_B = torch.ones(len(noise_BCHW), device=noise_BCHW.device)
    return pixels_of(decode(vae, unrolled_estimate(predict, noise_BCHW, ones_B, steps=steps)))
