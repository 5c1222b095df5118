"""Grouped convolutions with the keys and values of `nn.Conv2d`, routed round two slow bfloat16 kernels of CPUs."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recognition.backbones.precision import full_precision

FAST_GROUP = 8  # channels of a group at which oneDNN's bfloat16 kernels are fastest (measured: 4, 8, 16 and 32)


class GroupedConv2d(nn.Conv2d):
    """Convolution in which each group of output channels sees its own group of input channels only."""

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Map (B, in_channels, H, W) to (B, out_channels, H', W')."""
        traced = torch.compiler.is_compiling() or torch.jit.is_tracing()
        if x_BCHW.device.type != "cpu" or x_BCHW.dtype != torch.bfloat16 or traced:
            return super().forward(x_BCHW)
        group = self.in_channels // self.groups
        if group == 1 and self.stride != (1, 1):
            # The strided depthwise backward has no bfloat16 kernel of its own: float32 and two casts take a fifth.
            with full_precision(x_BCHW.device):
                return super().forward(x_BCHW.float()).to(torch.bfloat16)
        square = self.in_channels == self.out_channels and self.in_channels % FAST_GROUP == 0
        if square and 1 < group < FAST_GROUP and FAST_GROUP % group == 0:
            weight = widen_groups(self.weight, group, FAST_GROUP)
            return F.conv2d(
                x_BCHW, weight, self.bias, self.stride, self.padding, self.dilation, self.in_channels // FAST_GROUP
            )
        return super().forward(x_BCHW)


def widen_groups(weight_OIHW: Tensor, group: int, wider: int) -> Tensor:
    """The same convolution with groups of `wider` instead of `group` channels: zeros where groups do not touch.

    Needs as many output as input channels; maps (O, group, H, W) to (O, wider, H, W).
    """
    merged = wider // group
    channel_O = torch.arange(weight_OIHW.shape[0], device=weight_OIHW.device)
    mask_OM = F.one_hot(channel_O // group % merged, merged).to(weight_OIHW.dtype)
    return (weight_OIHW[:, None] * mask_OM[:, :, None, None, None]).flatten(1, 2)
