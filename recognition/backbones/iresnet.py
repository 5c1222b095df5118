"""IResNet, the residual network of ArcFace: Deng et al. (arXiv:1801.07698), blocks of Han et al. (arXiv:1610.02915).

State-dict keys, their order and the frozen parameter are those of arcface_torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from recognition.backbones.precision import full_precision
from recognition.backbones.prelu import PReLU
from recognition.backbones.recompute import run_checkpointed


class ResidualBlock(nn.Module):
    """BN - conv3x3 - BN - PReLU - conv3x3 (stride) - BN, added to the input or to its 1x1 projection."""

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(in_channels)
        self.conv1 = nn.Conv2d(in_channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.prelu = PReLU(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, stride=stride, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(channels)
        self.downsample = None
        if stride != 1 or in_channels != channels:
            self.downsample = nn.Sequential(
                nn.Conv2d(in_channels, channels, 1, stride=stride, bias=False), nn.BatchNorm2d(channels)
            )

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Map (B, in_channels, H, W) to (B, channels, H/stride, W/stride)."""
        out = self.prelu(self.bn2(self.conv1(self.bn1(x_BCHW))))
        out = self.bn3(self.conv2(out))
        return out + (x_BCHW if self.downsample is None else self.downsample(x_BCHW))


class IResNet(nn.Module):
    """Face images (B, 3, S, S) to float32 embeddings (B, D); S = `image_size`, divisible by 16.

    `depths` and `widths` give the blocks and channels of the four stages, each of which halves the resolution.
    `checkpoint_segments` names the stages that are recomputed in backward, and in how many segments.
    """

    def __init__(
        self,
        depths: Sequence[int],
        *,
        widths: Sequence[int] = (64, 128, 256, 512),
        embedding_size: int = 512,
        dropout: float = 0.0,
        image_size: int = 112,
        checkpoint_segments: Mapping[str, int] | None = None,
    ) -> None:
        super().__init__()
        self.checkpoint_segments = dict(checkpoint_segments or {})
        self.conv1 = nn.Conv2d(3, widths[0], 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(widths[0])
        self.prelu = PReLU(widths[0])
        self.layer1 = _stage(widths[0], widths[0], depths[0])
        self.layer2 = _stage(widths[0], widths[1], depths[1])
        self.layer3 = _stage(widths[1], widths[2], depths[2])
        self.layer4 = _stage(widths[2], widths[3], depths[3])
        self.bn2 = nn.BatchNorm2d(widths[3])
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(widths[3] * (image_size // 16) ** 2, embedding_size)
        self.features = nn.BatchNorm1d(embedding_size)
        # A scale per embedding dimension would let training undo the common scale that the margin softmax relies on.
        self.features.weight.requires_grad_(False)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.normal_(module.weight, 0.0, 0.1)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Embed images in [-1, 1]; the body follows the caller's autocast, the last two layers are float32."""
        x = self.prelu(self.bn1(self.conv1(x_BCHW)))
        for name in ("layer1", "layer2", "layer3", "layer4"):
            stage = getattr(self, name)
            if name in self.checkpoint_segments and self.training:
                x = run_checkpointed(stage, x, self.checkpoint_segments[name])
            else:
                x = stage(x)
        # flatten reads in (C, H, W) order whatever the memory format, so fc means the same in channels_last.
        x = self.dropout(torch.flatten(self.bn2(x), 1))
        with full_precision(x.device):
            return self.features(self.fc(x.float()))


def _stage(in_channels: int, channels: int, depth: int) -> nn.Sequential:
    blocks = [ResidualBlock(in_channels, channels, stride=2)]
    blocks += [ResidualBlock(channels, channels, stride=1) for _ in range(depth - 1)]
    return nn.Sequential(*blocks)
