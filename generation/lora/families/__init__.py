"""The flow-matching transformers that are trained here: what each wants of latents, times and prompts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn


@dataclass(frozen=True, eq=False)
class Prompts:
    """Prompts as transformers take them: a vector for each token, and one of the whole."""

    embeds_BLD: Tensor
    pooled_BP: Tensor

    def to(self, device: torch.device) -> Prompts:
        """The same on another device."""
        return Prompts(self.embeds_BLD.to(device), self.pooled_BP.to(device))


class Family(Protocol):
    """What differs between families; `config` is that of the transformer."""

    name: str
    kind: str  # class of the transformer in diffusers
    pipeline: str  # class of the pipeline that reads the adapter

    def latent_channels(self, config: Any) -> int:
        """Channels of the latents that fit."""
        ...

    def patch(self, config: Any) -> int:
        """Sides of latents must be multiples of this."""
        ...

    def velocity(
        self, transformer: nn.Module, x_BCHW: Tensor, t_B: Tensor, prompts: Prompts, *, guidance: float
    ) -> Tensor:
        """The predicted x1 - x0 (B, C, H, W) at times in [0, 1], in the transformer's type."""
        ...

    def tiny(self) -> nn.Module:
        """A small untrained transformer for the VAE `tiny`, from torch's random state."""
        ...


def families() -> dict[str, Family]:
    """All families by the class of their transformer."""
    from generation.lora.families.flux import Flux
    from generation.lora.families.sd3 import SD3

    return {family.kind: family for family in (Flux(), SD3())}
