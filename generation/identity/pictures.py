"""The pictures that a face loss is about: seen without a graph to find faces in, cropped with one.

They come as pixels, or as latents that are decoded when they are looked at: whole, or only round the face.
"""

from __future__ import annotations

from functools import cached_property
from typing import Protocol

import torch
from torch import Tensor, nn

from generation.alignment import crop
from generation.identity.latents import clamped, decode, side_of
from generation.identity.window import Whole, decode_whole, decode_windows, halo_of, reach_of, scale_of, windows_of
from recognition.errors import InputError

# Decoders overshoot a little, and at single pixels; [-1, 1] has all that is darker than grey below 0.
STRAY, MOST_STRAY_SHARE = 0.1, 0.1


class Pictures(Protocol):
    """B pictures; `seen_BCHW`: in [0, 1], float32, without a graph."""

    def __len__(self) -> int: ...

    @property
    def seen_BCHW(self) -> Tensor: ...

    def take(self, indices: list[int]) -> Pictures:
        """The pictures with these indices."""
        ...

    def crops(self, matrix_B23: Tensor, size: int) -> Tensor:
        """One crop of each picture, img01 (B, 3, size, size), with the graph; the matrices are of `seen_BCHW`."""
        ...

    def zero(self) -> Tensor:
        """0 on the graph: its gradient to every picture is 0, whatever its values."""
        ...


class GivenPictures:
    """Pictures img01 (B, 3, H, W), with or without a graph; values beyond [0, 1] are `clamped`."""

    def __init__(self, img01_BCHW: Tensor) -> None:
        self.img01_BCHW = img01_BCHW.to(torch.promote_types(img01_BCHW.dtype, torch.float32))

    def __len__(self) -> int:
        return len(self.img01_BCHW)

    @cached_property
    def seen_BCHW(self) -> Tensor:
        return self.img01_BCHW.detach().clamp(0, 1)

    def take(self, indices: list[int]) -> GivenPictures:
        return GivenPictures(self.img01_BCHW[indices])

    def crops(self, matrix_B23: Tensor, size: int) -> Tensor:
        return crop(clamped(self.img01_BCHW), matrix_B23, size)

    def zero(self) -> Tensor:
        return self.img01_BCHW[:0].sum()


class LatentPictures:
    """What latents (B, C, H, W) decode to, `side` of it; decoded whole, when first looked at."""

    def __init__(self, vae: nn.Module, latents_BCHW: Tensor, side: str | None = None) -> None:
        self.vae, self.latents_BCHW, self.side = vae, latents_BCHW, side

    def __len__(self) -> int:
        return len(self.latents_BCHW)

    @cached_property
    def decoded(self) -> GivenPictures:
        """The whole pictures."""
        return GivenPictures(side_of(decode(self.vae, self.latents_BCHW), self.side))

    @property
    def seen_BCHW(self) -> Tensor:
        return self.decoded.seen_BCHW

    def take(self, indices: list[int]) -> LatentPictures | GivenPictures:
        if "decoded" in self.__dict__:
            return self.decoded.take(indices)
        return LatentPictures(self.vae, self.latents_BCHW[indices], self.side)

    def crops(self, matrix_B23: Tensor, size: int) -> Tensor:
        return self.decoded.crops(matrix_B23, size)

    def zero(self) -> Tensor:
        return self.latents_BCHW[:0].float().sum()


class WindowedPictures:
    """As `LatentPictures`, but decoded with a graph only round the faces, see `generation.identity.window`.

    `halo`: latent pixels round each face; None: as many as make the crops exact.
    """

    def __init__(
        self, vae: nn.Module, latents_BCHW: Tensor, side: str | None = None, *, halo: int | None = None
    ) -> None:
        self.vae, self.latents_BCHW, self.side = vae, latents_BCHW, side
        self.halo = halo_of(vae) if halo is None else halo

    def __len__(self) -> int:
        return len(self.latents_BCHW)

    @cached_property
    def whole(self) -> Whole:
        """The whole pictures without a graph, and what windows of them are decoded from."""
        return decode_whole(self.vae, self.latents_BCHW)

    @property
    def seen_BCHW(self) -> Tensor:
        return side_of(self.whole.img01_BCHW, self.side).clamp(0, 1)

    def take(self, indices: list[int]) -> WindowedPictures:
        taken = WindowedPictures(self.vae, self.latents_BCHW[indices], self.side, halo=self.halo)
        if "whole" in self.__dict__:
            taken.whole = self.whole.some(indices)
        return taken

    def crops(self, matrix_B23: Tensor, size: int) -> Tensor:
        scale, (height, width) = scale_of(self.vae), self.latents_BCHW.shape[2:]
        first, last = 0, width * scale
        if self.side is not None:
            first, last = (0, last // 2) if self.side == "left" else (last // 2, last)
        reach_B4 = reach_of(matrix_B23, size)
        reach_B4[:, 0::2] = (reach_B4[:, 0::2] + first).clamp(first, last - 1)
        windows = windows_of(reach_B4, height, width, scale=scale, halo=self.halo)
        picture_BCHW = clamped(decode_windows(self.vae, self.whole, windows))
        # The other side of a diptych is beyond the picture: black.
        offset_B2 = windows.first_B2 * scale
        x_BW = offset_B2[:, :1] + torch.arange(picture_BCHW.shape[3], device=offset_B2.device)
        inside_BW = (x_BW >= first) & (x_BW < last)
        picture_BCHW = picture_BCHW * inside_BW[:, None, None, :]
        offset_B2 = (offset_B2 - torch.tensor([first, 0], device=offset_B2.device)).to(matrix_B23.dtype)
        shifted_B2 = matrix_B23[:, :, 2] + (matrix_B23[:, :, :2] @ offset_B2[..., None])[..., 0]
        return crop(picture_BCHW, torch.cat([matrix_B23[:, :, :2], shifted_B2[..., None]], 2), size)

    def zero(self) -> Tensor:
        return self.latents_BCHW[:0].float().sum()


def require_img01(img_BCHW: Tensor, what: str, *, decoded: bool = False) -> None:
    """InputError unless these are RGB pictures in [0, 1]; `what` says whose; `decoded` ones may overshoot a little."""
    if img_BCHW.ndim != 4 or img_BCHW.shape[1] != 3 or not img_BCHW.is_floating_point():
        raise InputError(
            f"{what} are {img_BCHW.dtype} {tuple(img_BCHW.shape)}; give RGB pictures in [0, 1], float (B, 3, H, W)"
        )
    values = img_BCHW.detach()
    finite = values[values.isfinite()]
    if len(finite) < values.numel() and not decoded:
        raise InputError(f"{what} are not finite in {values.numel() - len(finite)} values; look at how they are read")
    low, high = (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 1.0)
    if low >= -STRAY and high <= 1 + STRAY:
        return
    share = ((finite < -STRAY) | (finite > 1 + STRAY)).float().mean()
    if decoded and share <= MOST_STRAY_SHARE:
        return
    hint = "x / 2 + 0.5 if they are in [-1, 1]" if high <= 1 + STRAY else "x / 255 if they are pixel values"
    raise InputError(f"{what} have values from {low:.3g} to {high:.3g}; give pictures in [0, 1]: {hint}")
