"""Decoding, with a graph, only the part of a picture that a face lies in: the loss of a whole decode in less memory.

The middle of the decoder, with its attention, is small and sees all: it runs on whole latents. The upsampling blocks
take nearly all of the memory, and are convolutions and group norms. They first run on the whole without a graph, which
gives the picture to find the face in, and the statistics of every group norm; then with a graph on the window alone,
normalised by these. With a halo of the convolutions' reach, the window shows the pixels of the whole to rounding. The
gradient lacks what pixels outside the window do to those inside by way of the statistics.

Measured on decoders as they are initialised, with a loss that looks at a direction, as a cosine does: the gradient has
a cosine of 0.998 and more to the exact one. In Flux's shape at an eighth of its width, 512 pixels, a face of 205:

    halo      peak memory    pixels off by (rms)    cosine of the gradient
    whole     786 MB
    13        682 MB         0.0002 %               0.99996                   `halo_of`
    4         302 MB         1 %                    0.9998
    2         240 MB         8 %                    0.994
    4, with `recompute_blocks` 160 MB; the whole with it 430 MB
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from generation.identity.latents import raw_latents, to_img01
from recognition.errors import InputError

# Of each group norm: mean and variance, at least float32 (B, G), and over how many pixels.
Statistics = Mapping[nn.Module, tuple[Tensor, Tensor, int]]
PARTS = ("conv_in", "mid_block", "up_blocks", "conv_norm_out", "conv_act", "conv_out")


@dataclass(frozen=True, eq=False)
class Whole:
    """`img01_BCHW`: the picture, float32 without a graph; `features_BCHW`: before the upsampling, with the graph."""

    img01_BCHW: Tensor
    features_BCHW: Tensor
    statistics: Statistics

    def some(self, indices: list[int]) -> Whole:
        """The pictures with these indices."""
        statistics = {
            norm: (mean[indices], variance[indices], num_pixels)
            for norm, (mean, variance, num_pixels) in self.statistics.items()
        }
        return Whole(self.img01_BCHW[indices], self.features_BCHW[indices], statistics)


@dataclass(frozen=True, eq=False)
class Windows:
    """Parts of one size: `first_B2` the x, y of each one's first latent pixel, int64; `height`, `width` likewise."""

    first_B2: Tensor
    height: int
    width: int


def decode_whole(vae: nn.Module, latents_BCHW: Tensor) -> Whole:
    """All that windows are decoded from; InputError for a VAE that is not built as diffusers' AutoencoderKL."""
    decoder = _decoder(vae)
    raw = raw_latents(vae, latents_BCHW)
    if getattr(vae, "post_quant_conv", None) is not None:
        raw = vae.post_quant_conv(raw)
    features = _run(decoder, decoder.mid_block, decoder.conv_in(raw), {})
    with torch.no_grad(), _recorded(_norms(decoder)) as statistics:
        sample = _upsampled(decoder, features.detach(), {})
    return Whole(to_img01(sample), features, statistics)


def decode_windows(vae: nn.Module, whole: Whole, windows: Windows) -> Tensor:
    """The windows, img01 (B, 3, h, w), with the graph to the latents; exact from a halo inside their edges on."""
    parts = [
        features[:, y : y + windows.height, x : x + windows.width]
        for features, (x, y) in zip(whole.features_BCHW, windows.first_B2.tolist())
    ]
    decoder = _decoder(vae)
    return to_img01(_upsampled(decoder, torch.stack(parts), whole.statistics))


def windows_of(boxes_B4: Tensor, height: int, width: int, *, scale: int, halo: int) -> Windows:
    """Windows of one size that hold the boxes (pixels, x1 y1 x2 y2) and `halo` latent pixels around each, as few as do.

    `height` and `width` are the latents' own; where a window would reach beyond them it is moved inside.
    """
    sides_2 = torch.tensor([width, height], device=boxes_B4.device)
    # The pixel x shows the latent pixel floor(x / scale).
    first_B2 = (boxes_B4[:, :2].floor().long().div(scale, rounding_mode="floor") - halo).clamp(min=0)
    last_B2 = (boxes_B4[:, 2:].ceil().long().div(scale, rounding_mode="floor") + halo).minimum(sides_2 - 1)
    size_2 = (last_B2 - first_B2 + 1).amax(0).clamp(min=1).minimum(sides_2)
    first_B2 = first_B2.minimum(sides_2 - size_2)
    return Windows(first_B2, height=int(size_2[1]), width=int(size_2[0]))


def reach_of(matrix_B23: Tensor, size: int) -> Tensor:
    """The boxes (B, 4) of all pixels that a crop of `size` pixels square reads, x1 y1 x2 y2 in the picture.

    `matrix_B23` maps the picture to the crop. Bilinear sampling reads a pixel beyond; where the picture shrinks, and is
    first averaged over blocks of as many pixels as become one, a block beyond and the half of the block itself.
    """
    last = size - 1
    corners_42 = torch.tensor([[0, 0], [last, 0], [0, last], [last, last]], dtype=torch.float64)
    linear_B22, shift_B2 = matrix_B23[:, :, :2].double(), matrix_B23[:, :, 2].double()
    inverse_B22 = torch.linalg.inv(linear_B22)
    places_B42 = (corners_42.to(shift_B2) - shift_B2[:, None]) @ inverse_B22.mT
    beyond_B1 = (2 * inverse_B22.abs().sum(2).amax(1)[:, None]).clamp(min=1)
    return torch.cat([places_B42.amin(1) - beyond_B1, places_B42.amax(1) + beyond_B1], 1)


def scale_of(vae: nn.Module) -> int:
    """Pixels on a side that one latent pixel becomes."""
    return 2 ** sum(block.upsamplers is not None for block in _decoder(vae).up_blocks)


def halo_of(vae: nn.Module) -> int:
    """Latent pixels beyond a pixel that the upsampling blocks look at: with so many around it, a window is exact."""
    reach = 1  # conv_out; all convolutions here are 3 x 3
    for block in reversed(list(_decoder(vae).up_blocks)):
        if block.upsamplers is not None:
            reach = -(-(reach + 1) // 2)
        reach += 2 * len(block.resnets)
    return reach


def _decoder(vae: nn.Module) -> nn.Module:
    decoder = getattr(vae, "decoder", None)
    if not all(hasattr(decoder, name) for name in PARTS):
        raise InputError(f"{type(vae).__name__} is not built as AutoencoderKL: no windows of it; leave vae_window off")
    return decoder


def _norms(decoder: nn.Module) -> list[nn.Module]:
    parts = [*decoder.up_blocks, decoder.conv_norm_out]
    return [norm for part in parts for norm in part.modules() if isinstance(norm, nn.GroupNorm)]


def _upsampled(decoder: nn.Module, features: Tensor, statistics: Statistics) -> Tensor:
    for block in decoder.up_blocks:
        features = _run(decoder, block, features, statistics)
    with _given(statistics, decoder.conv_norm_out):
        features = decoder.conv_norm_out(features)
    return decoder.conv_out(decoder.conv_act(features))


def _run(decoder: nn.Module, block: nn.Module, features: Tensor, statistics: Statistics) -> Tensor:
    """The block's output, recomputed in backward where the decoder was told so."""

    def run(features: Tensor) -> Tensor:
        # In here: a recomputation must find the same statistics.
        with _given(statistics, block):
            return block(features)

    if decoder.gradient_checkpointing and torch.is_grad_enabled():
        return checkpoint(run, features, use_reentrant=False)
    return run(features)


@contextmanager
def _recorded(norms: list[nn.Module]) -> Iterator[dict[nn.Module, tuple[Tensor, Tensor, int]]]:
    """The statistics of what these group norms are given inside the block."""
    statistics: dict[nn.Module, tuple[Tensor, Tensor, int]] = {}

    def note(norm: nn.GroupNorm, given: tuple[Tensor]) -> None:
        variance_BG, mean_BG = torch.var_mean(_groups(norm, given[0]), dim=2, correction=0)
        statistics[norm] = mean_BG, variance_BG, given[0][0, 0].numel()

    handles = [norm.register_forward_pre_hook(note) for norm in norms]
    try:
        yield statistics
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def _given(statistics: Statistics, block: nn.Module) -> Iterator[None]:
    """Inside, the block's group norms normalise by these statistics (Wu and He, arXiv:1803.08494, eq. 1).

    d mean = sum(dx) / N and d variance = 2 sum((x - mean) dx) / N, N of the whole: exact for the pixels at hand.
    """

    def normalised(norm: nn.GroupNorm, given: tuple[Tensor], _: Tensor) -> Tensor:
        x_BCHW = given[0]
        mean_BG, variance_BG, num_pixels = statistics[norm]
        share = x_BCHW[0, 0].numel() / num_pixels
        groups_BGN = _groups(norm, x_BCHW)
        square_BG = (groups_BGN - mean_BG[..., None]).square().mean(2)
        # The values of the whole, with the gradient of the window's pixels' share in them.
        mean_BG = mean_BG + share * _gradient_only(groups_BGN.mean(2))
        inverse_BG = (variance_BG + share * _gradient_only(square_BG) + norm.eps).rsqrt()
        mean_BC, inverse_BC = (
            values.repeat_interleave(norm.num_channels // norm.num_groups, 1) for values in (mean_BG, inverse_BG)
        )
        scale_BC = inverse_BC * norm.weight
        shift_BC = norm.bias - mean_BC * scale_BC
        out = torch.addcmul(shift_BC[..., None, None], x_BCHW.to(scale_BC.dtype), scale_BC[..., None, None])
        return out.to(x_BCHW.dtype)

    norms = [norm for norm in block.modules() if norm in statistics]
    handles = [norm.register_forward_hook(normalised) for norm in norms]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _groups(norm: nn.GroupNorm, x_BCHW: Tensor) -> Tensor:
    """The values of each of the norm's groups in a row, at least float32 (B, G, N)."""
    wide = torch.promote_types(x_BCHW.dtype, torch.float32)
    return x_BCHW.to(wide).reshape(len(x_BCHW), norm.num_groups, -1)


def _gradient_only(x: Tensor) -> Tensor:
    """0, with the gradient of x."""
    return x - x.detach()
