"""Pictures between the forms that files, arrays and networks have them in."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from recognition.data.decode import upright_image
from recognition.records.encode import fitted


def read_pixels(path: Path, side: int, *, fills: bool) -> np.ndarray:
    """A picture file as uint8 (side, side, 3) RGB: scaled to fill the square and cut, or to fit into it on black.

    InputError, with the path, for a damaged one.
    """
    return np.asarray(fitted(upright_image(path.read_bytes(), lambda: str(path)), side, "crop" if fills else "pad"))


def img01_of(pixels_HWC: np.ndarray) -> Tensor:
    """uint8 (H, W, 3) as float32 in [0, 1], (3, H, W)."""
    return torch.from_numpy(np.array(pixels_HWC)).permute(2, 0, 1).float() / 255


def batch_of(pixels: Sequence[np.ndarray]) -> Tensor:
    """Pictures uint8 (S, S, 3) as float32 in [0, 1], (N, 3, S, S)."""
    return torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2).float() / 255


def pixels_of(img01_BCHW: Tensor) -> Tensor:
    """Pictures in [0, 1] as uint8 (B, H, W, 3), as a file keeps them: what is beyond is cut off."""
    whole = (img01_BCHW.float().nan_to_num(0).clamp(0, 1) * 255).round()
    return whole.to(torch.uint8).permute(0, 2, 3, 1).contiguous()
