"""Masks put to use: which pixels an edit may change, and a loss may look at; edits put back where they belong."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from generation.alignment import uncrop
from recognition.errors import InputError
from recognition.heads.classes import NAMES

FEATHER = 4  # pixels of a crop over which an edit fades out
FACE = ("skin", "l_brow", "r_brow", "l_eye", "r_eye", "eye_g", "nose", "mouth", "u_lip", "l_lip")


def region(mask_BHW: Tensor, classes: Iterable[str | int]) -> Tensor:
    """Where pixels are of one of the classes, by name or number: float32 (B, 1, H, W), 0 or 1.

    InputError for a class that is none.
    """
    numbers = [_number(each) for each in classes]
    wanted = torch.tensor(numbers, device=mask_BHW.device, dtype=mask_BHW.dtype)
    return torch.isin(mask_BHW, wanted)[:, None].float()


def feathered(region_B1HW: Tensor, pixels: int = FEATHER) -> Tensor:
    """How much of an edit is shown, float32 (B, 1, H, W): rises inside the region, and is 0 on its outermost pixels.

    At the k-th pixel from the outside (in rows, columns and diagonals alike) it is (k - 1) / `pixels`, at most 1; what
    lies beyond the picture is outside. That the outermost are 0 lets it be sampled bilinearly, as a turned crop is, and
    no pixel outside the region is touched.
    """
    if pixels < 1:
        raise ValueError(f"feather over at least 1 pixel, not {pixels}")
    inside, total = region_B1HW.float(), torch.zeros_like(region_B1HW, dtype=torch.float32)
    for _ in range(pixels):
        inside = 1 - F.max_pool2d(F.pad(1 - inside, (1, 1, 1, 1), value=1.0), 3, 1)
        total += inside
    return total / pixels


def blend_back(
    photo_HWC: np.ndarray, edited_SSC: np.ndarray, matrix_23: np.ndarray, region_SS: np.ndarray,
    *, feather: int = FEATHER,
) -> np.ndarray:  # fmt: skip
    """A photo with an edited crop put back where it was cut out, uint8 (H, W, 3); outside the region it is bit-equal.

    `matrix_23` maps the photo's pixels to the crop's, as faces/alignment.similarity gives it and warp takes it;
    `region_SS`, bool, is where the crop may be shown.
    """
    photo, edited = (
        torch.from_numpy(np.array(each)).permute(2, 0, 1)[None].float() for each in (photo_HWC, edited_SSC)
    )
    region_11SS = torch.from_numpy(np.array(region_SS, dtype=np.float32))[None, None]
    if edited.shape[2:] != region_11SS.shape[2:] or edited.shape[2] != edited.shape[3]:
        raise ValueError(f"a crop is square, and its region has its size: {edited_SSC.shape}, {region_SS.shape}")
    matrix_123 = torch.from_numpy(np.asarray(matrix_23, np.float64))[None]
    out = uncrop(edited, matrix_123, photo, feathered(region_11SS, feather))
    return out[0].round().clamp(0, 255).to(torch.uint8).permute(1, 2, 0).contiguous().numpy()


def lay_back(
    photo_HWC: np.ndarray, before_SSC: np.ndarray, edited_SSC: np.ndarray, matrix_23: np.ndarray, region_SS: np.ndarray,
    *, feather: int = FEATHER,
) -> np.ndarray:  # fmt: skip
    """A photo with what an edit has changed in a crop of it added, uint8 (H, W, 3); arguments as of `blend_back`.

    A crop that is smaller than what it was cut out of lends its changes, and the photo keeps its own detail.
    """
    photo, before, edited = (
        torch.from_numpy(np.array(each)).permute(2, 0, 1)[None].float() for each in (photo_HWC, before_SSC, edited_SSC)
    )
    weight = feathered(torch.from_numpy(np.array(region_SS, dtype=np.float32))[None, None], feather)
    matrix_123 = torch.from_numpy(np.asarray(matrix_23, np.float64))[None]
    out = photo + uncrop(edited - before, matrix_123, torch.zeros_like(photo), weight)
    return out[0].round().clamp(0, 255).to(torch.uint8).permute(1, 2, 0).contiguous().numpy()


def within(img_BCHW: Tensor, region_B1HW: Tensor, *, elsewhere: float = 0.5) -> Tensor:
    """Pictures of which only a region is to be seen, the rest in one grey; what an identity loss may be shown."""
    return img_BCHW * region_B1HW + elsewhere * (1 - region_B1HW)


def _number(each: str | int) -> int:
    if isinstance(each, str):
        if each not in NAMES:
            raise InputError(f"{each} is no class of a face; classes are {', '.join(NAMES)}")
        return NAMES.index(each)
    if not 0 <= each < len(NAMES):
        raise InputError(f"{each} is no class of a face; they are numbered 0 to {len(NAMES) - 1}")
    return int(each)
