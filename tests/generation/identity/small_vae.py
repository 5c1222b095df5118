"""VAEs of diffusers, small and untrained, built from their config: nothing is downloaded."""

from __future__ import annotations

import pytest
import torch
from torch import nn


def small_vae(*, seed: int = 0, attention: bool = True, scaling: float = 0.3611, shift: float | None = 0.1159, **more):
    """AutoencoderKL of 3 levels (4 pixels a latent pixel), 4 latent channels, scaling and shift as Flux has them."""
    diffusers = pytest.importorskip("diffusers", reason="needs diffusers: pip install -e '.[generation]'")
    torch.manual_seed(seed)
    config = {
        "block_out_channels": (8, 16, 16),
        "down_block_types": ("DownEncoderBlock2D",) * 3,
        "up_block_types": ("UpDecoderBlock2D",) * 3,
        "layers_per_block": 1,
        "latent_channels": 4,
        "norm_num_groups": 4,
        "scaling_factor": scaling,
        "shift_factor": shift,
        "mid_block_add_attention": attention,
    }
    vae = diffusers.AutoencoderKL(**config | more)
    with torch.no_grad():  # as they are initialised, all pictures are grey
        vae.decoder.conv_out.weight.mul_(3)
    return vae.eval()


def latents_of(vae: nn.Module, count: int = 2, side: int = 8, seed: int = 1) -> torch.Tensor:
    """Noise of the size that a model would give, float32."""
    return torch.randn(count, vae.config.latent_channels, side, side, generator=torch.Generator().manual_seed(seed))
