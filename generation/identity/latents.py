"""Latents of a diffusers VAE -> pictures and back, and the forms in which models hold latents: packed, side by side.

`latents` are those that a diffusion model works on; `raw` ones are what the VAE itself encodes to. img01 is [0, 1].
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from recognition.errors import InputError

SIDES = ("left", "right")
PATCH = 2  # latent pixels on a side that Flux packs into one token


def raw_latents(vae: nn.Module, latents_BCHW: Tensor) -> Tensor:
    """latents / scaling_factor + shift_factor in the VAE's own type, as its config has them.

    A VAE with `latents_mean` and `latents_std` (one a channel) has latents * std / scaling_factor + mean instead.
    """
    divisor, shift = _divisor_and_shift(vae, latents_BCHW)
    return (latents_BCHW / divisor + shift).to(_dtype(vae))


def model_latents(vae: nn.Module, raw_BCHW: Tensor) -> Tensor:
    """(raw - shift_factor) * scaling_factor: the inverse of `raw_latents`."""
    divisor, shift = _divisor_and_shift(vae, raw_BCHW)
    return (raw_BCHW - shift) * divisor


def encode(vae: nn.Module, img01_BCHW: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
    """Latents of pictures in [0, 1], in the VAE's type: the posterior's mode, or a sample of it with a `generator`.

    AutoencoderTiny has no posterior: its latents are what it says.
    """
    found = vae.encode((img01_BCHW * 2 - 1).to(_dtype(vae)))
    if (posterior := getattr(found, "latent_dist", None)) is None:
        return model_latents(vae, found.latents)
    return model_latents(vae, posterior.mode() if generator is None else posterior.sample(generator))


def decode(vae: nn.Module, latents_BCHW: Tensor) -> Tensor:
    """Pictures img01 (B, 3, H, W), at least float32, of a model's latents, with the gradient to them.

    Not clamped: a decoder's pixels reach beyond [0, 1], and a clamp would end their gradient. What looks at the picture
    as it will be shown calls `clamped` on it.
    """
    return to_img01(vae.decode(raw_latents(vae, latents_BCHW)).sample)


def to_img01(img11: Tensor) -> Tensor:
    """[-1, 1] -> [0, 1] in at least float32."""
    return img11.to(torch.promote_types(img11.dtype, torch.float32)) / 2 + 0.5


def clamped(img01: Tensor) -> Tensor:
    """The values in [0, 1], as a picture file keeps them, with the gradient of the values given (straight-through).

    Bengio et al., arXiv:1308.3432: forward min(max(x, 0), 1), backward 1 everywhere. A pixel beyond the range thus
    still learns in which direction it should have moved.
    """
    return img01.detach().clamp(0, 1) + (img01 - img01.detach())


def pack_latents(latents_BCHW: Tensor) -> Tensor:
    """(B, C, H, W) -> the tokens of Flux, (B, H/2 * W/2, 4 C): blocks of 2 x 2, channel-major within a token.

    InputError where a side is odd.
    """
    b, c, h, w = latents_BCHW.shape
    if h % PATCH or w % PATCH:
        raise InputError(f"latents of {h} x {w} cannot be packed 2 x 2; choose pictures whose latents have even sides")
    blocks = latents_BCHW.reshape(b, c, h // PATCH, PATCH, w // PATCH, PATCH)
    return blocks.permute(0, 2, 4, 1, 3, 5).reshape(b, (h // PATCH) * (w // PATCH), c * PATCH**2)


def unpack_latents(packed_BLD: Tensor, height: int, width: int) -> Tensor:
    """The tokens of Flux -> (B, C, height, width), sides in latent pixels: the inverse of `pack_latents`.

    InputError where the tokens do not fill that size.
    """
    b, length, dim = packed_BLD.shape
    rows, columns = height // PATCH, width // PATCH
    if height % PATCH or width % PATCH or rows * columns != length or dim % PATCH**2:
        raise InputError(
            f"{length} tokens of {dim} numbers are no latents of {height} x {width}: these are {rows * columns} "
            f"tokens of a multiple of {PATCH**2}; give the height and width in latent pixels"
        )
    c = dim // PATCH**2
    blocks = packed_BLD.reshape(b, rows, columns, c, PATCH, PATCH)
    return blocks.permute(0, 3, 1, 4, 2, 5).reshape(b, c, height, width)


def side_of(x_BCHW: Tensor, side: str | None) -> Tensor:
    """One half of a diptych, split down the middle; None: all of it. Latents or pixels.

    InputError for another side, or an odd width.
    """
    if side is None:
        return x_BCHW
    if side not in SIDES:
        raise InputError(f"side={side!r} is not known; use left, right or None")
    width = x_BCHW.shape[-1]
    if width % 2:
        raise InputError(f"a diptych of {width} columns has no middle; its width must be even")
    return x_BCHW[..., : width // 2] if side == "left" else x_BCHW[..., width // 2 :]


def recompute_blocks(vae: nn.Module) -> None:
    """Let the VAE recompute its blocks in backward rather than keep their insides: the same gradient in less memory.

    Chen et al., arXiv:1604.06174. The peak then is that of the largest block. InputError for a VAE that cannot.
    """
    enable = getattr(vae, "enable_gradient_checkpointing", None)
    if enable is None or not getattr(vae, "_supports_gradient_checkpointing", True):
        raise InputError(f"{type(vae).__name__} has no gradient checkpointing; leave vae_checkpointing off")
    enable()


def _divisor_and_shift(vae: nn.Module, like: Tensor) -> tuple[Tensor | float, Tensor | float]:
    """raw = latents / divisor + shift, from the config of the VAE."""
    config = vae.config
    mean, std = getattr(config, "latents_mean", None), getattr(config, "latents_std", None)
    if mean is not None and std is not None:
        mean_C11, std_C11 = (like.new_tensor(list(values))[:, None, None] for values in (mean, std))
        return config.scaling_factor / std_C11, mean_C11
    return config.scaling_factor, getattr(config, "shift_factor", None) or 0.0


def _dtype(vae: nn.Module) -> torch.dtype:
    return next(vae.parameters()).dtype
