"""FLUX.1 (Black Forest Labs 2024): latents packed 2 x 2 into tokens, places as numbers, times in [0, 1]."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from generation.identity.latents import PATCH, pack_latents, unpack_latents
from generation.lora.families import Prompts


class Flux:
    """See `Family`."""

    name, kind, pipeline = "flux", "FluxTransformer2DModel", "FluxPipeline"

    def latent_channels(self, config: Any) -> int:
        return config.in_channels // PATCH**2

    def patch(self, config: Any) -> int:
        return PATCH

    def velocity(
        self, transformer: nn.Module, x_BCHW: Tensor, t_B: Tensor, prompts: Prompts, *, guidance: float
    ) -> Tensor:
        height, width = x_BCHW.shape[2:]
        guidance_B = torch.full_like(t_B, guidance) if transformer.config.guidance_embeds else None
        packed_BLD = transformer(
            hidden_states=pack_latents(x_BCHW),
            timestep=t_B,
            guidance=guidance_B,
            pooled_projections=prompts.pooled_BP,
            encoder_hidden_states=prompts.embeds_BLD,
            txt_ids=torch.zeros(prompts.embeds_BLD.shape[1], 3, device=x_BCHW.device),
            img_ids=image_ids(height, width, x_BCHW.device),
            return_dict=False,
        )[0]
        return unpack_latents(packed_BLD, height, width)

    def tiny(self) -> nn.Module:
        from diffusers import FluxTransformer2DModel

        return FluxTransformer2DModel(
            in_channels=16,
            num_layers=1,
            num_single_layers=1,
            attention_head_dim=16,
            num_attention_heads=2,
            joint_attention_dim=32,
            pooled_projection_dim=32,
            guidance_embeds=True,
            axes_dims_rope=(4, 4, 8),
        )


def image_ids(height: int, width: int, device: torch.device) -> Tensor:
    """(0, row, column) of each token of latents of that size, float32 (L, 3), in the order of `pack_latents`."""
    rows, columns = torch.meshgrid(
        torch.arange(height // PATCH, device=device), torch.arange(width // PATCH, device=device), indexing="ij"
    )
    return torch.stack([torch.zeros_like(rows), rows, columns], 2).reshape(-1, 3).float()
