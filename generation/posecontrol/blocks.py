"""The few pieces that generators and control branches are made of."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class ResidualBlock(nn.Module):
    """Two 3 x 3 convolutions beside a straight way, (B, C, H, W) -> (B, D, H, W); no norm, so no colour is lost."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(inputs, outputs, 3, 1, 1)
        self.second = zeroed(nn.Conv2d(outputs, outputs, 3, 1, 1))
        self.straight = nn.Identity() if inputs == outputs else nn.Conv2d(inputs, outputs, 1)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Begins as the straight way alone."""
        return self.straight(x_BCHW) + self.second(F.silu(self.first(F.silu(x_BCHW))))


class Joining(nn.Conv2d):
    """Brings an encoder's map to a stage's channels, (B, C, H, W) -> (B, D, H, W), whatever scale its network has."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, 1)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Each picture's map with mean 0 and deviation 1, then the convolution."""
        # Not GroupNorm: in torch 2.13 its backward pass crashes on a CPU for maps in channels_last without a gradient.
        return super().forward(F.layer_norm(x_BCHW.contiguous(), x_BCHW.shape[1:]))


def zeroed(layer: nn.Module) -> nn.Module:
    """The layer with weights and bias 0: what it adds is nothing until it is trained (arXiv:2302.05543, eq. 2)."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer


def sized(x_BCHW: Tensor, side: int) -> Tensor:
    """A map at `side` pixels square, bilinearly."""
    if x_BCHW.shape[-1] == side:
        return x_BCHW
    return F.interpolate(x_BCHW, (side, side), mode="bilinear")


def moved(x_BCHW: Tensor, flow_B2HW: Tensor | None) -> Tensor:
    """The map, each pixel of which is taken from where the flow points; None: as it is.

    `flow_B2HW`: right and down, in halves of the picture's side, of any resolution. Beyond the edge is what lies on it.
    """
    if flow_B2HW is None:
        return x_BCHW
    side = x_BCHW.shape[-1]
    # Where a place is NaN grid_sample crashes on a CPU; the loss is NaN all the same, from what else came of it.
    flow_BHW2 = sized(flow_B2HW.float().nan_to_num(0), side).permute(0, 2, 3, 1)
    at = (torch.arange(side, device=x_BCHW.device, dtype=torch.float32) * 2 + 1) / side - 1
    grid_HW2 = torch.stack(torch.meshgrid(at, at, indexing="xy"), -1)
    out = F.grid_sample(
        x_BCHW.float(), grid_HW2 + flow_BHW2, mode="bilinear", padding_mode="border", align_corners=False
    )
    return out.to(x_BCHW.dtype)
