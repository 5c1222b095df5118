"""Pictures between the forms that files, arrays and networks have them in."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Hashable, Sequence
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from recognition.data.decode import Where, upright_image
from recognition.errors import InputError
from recognition.records.encode import fitted

Key = TypeVar("Key", bound=Hashable)


def read_pixels(path: Path, side: int, *, fills: bool) -> np.ndarray:
    """A picture file as uint8 (side, side, 3) RGB: scaled to fill the square and cut, or to fit into it on black.

    InputError, with the path, for a damaged one.
    """
    return np.asarray(fitted(upright_image(path.read_bytes(), lambda: str(path)), side, "crop" if fills else "pad"))


def middle_pixels(payload: bytes | memoryview, where: Where, side: int, crop: int | None = None) -> np.ndarray:
    """The middle square of an encoded picture, uint8 (side, side, 3) RGB; `crop` pixels wide, or as wide as it can be.

    InputError, beginning with `where()`, for what is no picture, and for one that is smaller than `crop`.
    """
    image = upright_image(payload, where)
    return np.asarray(fitted(image if crop is None else _middle(image, crop, where), side, "crop"))


def middle_classes(payload: bytes, where: Where, side: int, crop: int | None = None) -> np.ndarray:
    """The same square of a picture of classes, uint8 (side, side): no value is mixed with another."""
    try:
        with Image.open(io.BytesIO(payload)) as opened:
            image = opened.copy()
    except (OSError, ValueError) as error:
        raise InputError(f"{where()}: is no picture ({error})") from error
    if image.mode not in ("L", "P"):
        raise InputError(f"{where()}: a picture of classes has one channel of bytes, and this is {image.mode}")
    image = _middle(image, min(image.size) if crop is None else crop, where)
    return np.asarray(image.resize((side, side), Image.Resampling.NEAREST))


def _middle(image: Image.Image, crop: int, where: Where) -> Image.Image:
    """The square in the middle, `crop` pixels wide."""
    if crop < 1:
        raise InputError(f"--crop_size {crop}: must be at least 1")
    if min(image.size) < crop:
        size = " x ".join(map(str, image.size))
        raise InputError(f"{where()}: {size} pixels, smaller than the crop of {crop}; give a smaller --crop_size")
    left, top = (round((length - crop) / 2) for length in image.size)
    return image.crop((left, top, left + crop, top + crop))


class PictureCache(Generic[Key]):
    """Pictures, uint8 arrays, by their keys, kept from the first `read` on while they fit into `most_bytes`.

    Any thread may ask.
    """

    def __init__(self, read: Callable[[Key], np.ndarray], most_bytes: int) -> None:
        self._read, self.left_bytes = read, most_bytes
        self._kept: dict[Key, np.ndarray] = {}
        self._lock = threading.Lock()

    def read(self, key: Key) -> np.ndarray:
        """The picture of that key; raises what reading it raises."""
        kept = self._kept.get(key)
        if kept is not None:
            return kept
        pixels_HWC = self._read(key)
        with self._lock:
            if key not in self._kept and pixels_HWC.nbytes <= self.left_bytes:
                self._kept[key] = pixels_HWC
                self.left_bytes -= pixels_HWC.nbytes
        return pixels_HWC


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


def img11_of(pixels_BHWC: Tensor, device: torch.device) -> Tensor:
    """uint8 (B, H, W, 3) as float32 in [-1, 1], (B, 3, H, W)."""
    return pixels_BHWC.to(device, non_blocking=True).permute(0, 3, 1, 2).float() / 127.5 - 1


def resized(img_BCHW: Tensor, side: int) -> Tensor:
    """Pictures `side` pixels square, averaged where they become smaller; those that are so stay as they are."""
    if img_BCHW.shape[2:] == (side, side):
        return img_BCHW
    return F.interpolate(img_BCHW.float(), (side, side), mode="bilinear", antialias=True)
