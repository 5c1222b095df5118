"""MobileFaceNet: Chen et al., "MobileFaceNets" (arXiv:1804.07573), in the wider form of arcface_torch.

State-dict keys and their order are those of arcface_torch; they are why everything sits under `layers`.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from recognition.backbones.convolution import GroupedConv2d
from recognition.backbones.precision import full_precision
from recognition.backbones.prelu import PReLU
from recognition.backbones.recompute import run_checkpointed


class ConvNorm(nn.Module):
    """Convolution without bias, batch norm and, unless `activation` is false, PReLU."""

    def __init__(
        self,
        in_channels: int,
        channels: int,
        kernel: int = 1,
        *,
        stride: int = 1,
        padding: int = 0,
        groups: int = 1,
        activation: bool = True,
    ) -> None:
        super().__init__()
        convolution = nn.Conv2d if groups == 1 else GroupedConv2d
        layers = [
            convolution(in_channels, channels, kernel, stride, padding, groups=groups, bias=False),
            nn.BatchNorm2d(channels),
        ]
        self.layers = nn.Sequential(*layers, *([PReLU(channels)] if activation else []))

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Map (B, in_channels, H, W) to (B, channels, H', W')."""
        return self.layers(x_BCHW)


class Bottleneck(nn.Module):
    """1x1 expansion, 3x3 depthwise convolution, 1x1 projection without activation (arXiv:1801.04381, figure 3)."""

    def __init__(self, in_channels: int, channels: int, *, expanded: int, stride: int, residual: bool) -> None:
        super().__init__()
        self.residual = residual
        self.layers = nn.Sequential(
            ConvNorm(in_channels, expanded),
            ConvNorm(expanded, expanded, 3, stride=stride, padding=1, groups=expanded),
            ConvNorm(expanded, channels, activation=False),
        )

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Map (B, in_channels, H, W) to (B, channels, H/stride, W/stride)."""
        out = self.layers(x_BCHW)
        return x_BCHW + out if self.residual else out


class ResidualStage(nn.Module):
    """`depth` bottlenecks with a residual connection each, at one resolution."""

    def __init__(self, channels: int, depth: int, *, expanded: int) -> None:
        super().__init__()
        blocks = [Bottleneck(channels, channels, expanded=expanded, stride=1, residual=True) for _ in range(depth)]
        self.layers = nn.Sequential(*blocks)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Map (B, C, H, W) to the same shape."""
        return self.layers(x_BCHW)


class EmbeddingHead(nn.Module):
    """Global depthwise convolution over the whole map (arXiv:1804.07573, section 3.1), linear map, batch norm."""

    def __init__(self, channels: int, kernel: int, embedding_size: int, dropout: float) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            ConvNorm(channels, channels, kernel, groups=channels, activation=False),
            nn.Sequential(nn.Flatten(), nn.Dropout(dropout)),
            nn.Linear(channels, embedding_size, bias=False),
            nn.BatchNorm1d(embedding_size),
        )

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Map (B, C, kernel, kernel) to (B, embedding_size)."""
        return self.layers(x_BCHW)


class MobileFaceNet(nn.Module):
    """Face images (B, 3, S, S) to float32 embeddings (B, D); S = `image_size`, divisible by 16.

    `base` counts channels (64 in both published networks), `scale` multiplies it in the body; `depths` are the
    blocks at 1/2, 1/4, 1/8 and 1/16 of the resolution.
    """

    def __init__(
        self,
        depths: Sequence[int],
        scale: int,
        *,
        base: int = 64,
        embedding_size: int = 512,
        dropout: float = 0.0,
        image_size: int = 112,
        gradient_checkpointing: bool = False,
    ) -> None:
        super().__init__()
        self.gradient_checkpointing = gradient_checkpointing
        narrow, wide = base * scale, 2 * base * scale
        if depths[0] == 1:
            # The published weights have `base` groups here although there are base * scale channels.
            first = ConvNorm(narrow, narrow, 3, padding=1, groups=base)
        else:
            first = ResidualStage(narrow, depths[0], expanded=2 * base)
        self.layers = nn.ModuleList(
            [
                ConvNorm(3, narrow, 3, stride=2, padding=1),
                first,
                Bottleneck(narrow, narrow, expanded=2 * base, stride=2, residual=False),
                ResidualStage(narrow, depths[1], expanded=2 * base),
                Bottleneck(narrow, wide, expanded=4 * base, stride=2, residual=False),
                ResidualStage(wide, depths[2], expanded=4 * base),
                Bottleneck(wide, wide, expanded=8 * base, stride=2, residual=False),
                ResidualStage(wide, depths[3], expanded=4 * base),
            ]
        )
        self.conv_sep = ConvNorm(wide, 8 * base)
        self.features = EmbeddingHead(8 * base, image_size // 16, embedding_size, dropout)
        for module in self.modules():
            if isinstance(module, (nn.Conv2d, nn.Linear)):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Embed images in [-1, 1]; the body follows the caller's autocast, `conv_sep` and `features` are float32."""
        x = x_BCHW
        if self.gradient_checkpointing and self.training:
            blocks = [block for stage in self.layers for block in _blocks(stage)]
            x = run_checkpointed(blocks, x, len(blocks))
        else:
            for stage in self.layers:
                x = stage(x)
        with full_precision(x.device):
            return self.features(self.conv_sep(x.float()))


def _blocks(stage: nn.Module) -> list[nn.Module]:
    return list(stage.layers) if isinstance(stage, ResidualStage) else [stage]
