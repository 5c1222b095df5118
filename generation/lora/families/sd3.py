"""Stable Diffusion 3 (Esser et al., arXiv:2403.03206): latents as they are, times in thousandths."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from generation.lora.families import Prompts

TIMES = 1000


class SD3:
    """See `Family`."""

    name, kind, pipeline = "sd3", "SD3Transformer2DModel", "StableDiffusion3Pipeline"

    def latent_channels(self, config: Any) -> int:
        return config.in_channels

    def patch(self, config: Any) -> int:
        return config.patch_size

    def velocity(
        self, transformer: nn.Module, x_BCHW: Tensor, t_B: Tensor, prompts: Prompts, *, guidance: float
    ) -> Tensor:
        return transformer(
            hidden_states=x_BCHW,
            timestep=t_B * TIMES,
            pooled_projections=prompts.pooled_BP,
            encoder_hidden_states=prompts.embeds_BLD,
            return_dict=False,
        )[0]

    def tiny(self) -> nn.Module:
        from diffusers import SD3Transformer2DModel

        return SD3Transformer2DModel(
            sample_size=32,
            patch_size=2,
            in_channels=4,
            out_channels=4,
            num_layers=1,
            attention_head_dim=8,
            num_attention_heads=4,
            joint_attention_dim=32,
            caption_projection_dim=32,
            pooled_projection_dim=32,
            pos_embed_max_size=96,
        )
