"""Pictures of a run: read from files, and generated ones as bytes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from generation.identity.flow import Predict, unrolled_estimate
from generation.identity.latents import decode
from recognition.data.decode import open_image, upright_image
from recognition.records.encode import fitted


def read_picture(path: Path, side: int, *, fills: bool) -> Tensor:
    """A picture file as img01 (3, side, side): scaled to fill the square and cut, or to fit into it on black.

    InputError, with the path, for a missing or damaged one.
    """
    image = upright_image(path.read_bytes(), lambda: str(path))
    return img01_of(fitted(image, side, "crop" if fills else "pad"))


def is_square(path: Path) -> bool:
    """Whether a picture file has equal sides; InputError, with the path, for what is no picture."""
    with open_image(path.read_bytes(), lambda: str(path)) as image:
        return image.width == image.height


def img01_of(pixels_HWC: np.ndarray) -> Tensor:
    """uint8 (H, W, 3) as float32 in [0, 1], (3, H, W)."""
    return torch.from_numpy(np.array(pixels_HWC)).permute(2, 0, 1).float() / 255


def pixels_of(img01_BCHW: Tensor) -> Tensor:
    """Pictures in [0, 1] as uint8 (B, H, W, 3), as a file keeps them: what is beyond is cut off."""
    whole = (img01_BCHW.float().nan_to_num(0).clamp(0, 1) * 255).round()
    return whole.to(torch.uint8).permute(0, 2, 3, 1).contiguous()


@torch.no_grad()
def generated(predict: Predict, vae: nn.Module, noise_BCHW: Tensor, *, steps: int) -> Tensor:
    """Pictures uint8 (B, S, S, 3) from latents that are all noise, in `steps` equal Euler steps."""
    ones_B = torch.ones(len(noise_BCHW), device=noise_BCHW.device)
    return pixels_of(decode(vae, unrolled_estimate(predict, noise_BCHW, ones_B, steps=steps)))
