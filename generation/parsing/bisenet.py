"""BiSeNet with a ResNet18 (Yu et al. 2018, arXiv:1808.00897), in the layout of the published parsers of faces.

Names and shapes of the tensors are those of `79999_iter.pth` (zllrunning/face-parsing.PyTorch), which loads as it is.
There the ResNet's features at an eighth stand for the paper's spatial path.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's, of img01 RGB
WIDTH = 64
STRIDE = 32  # of the deepest features


class BiSeNet(nn.Module):
    """Pictures img01 (B, 3, H, W), of any size -> logits (B, C, H, W); in training a triple of them, the two helpers'
    at the 8th and 16th of the sides last.

    `width`: channels of the first layer, of which all others are multiples. `enlarge`: how many times larger a picture
    is seen than it is, since the logits are computed for blocks of 8 pixels, and small faces have smaller eyes.
    The normalisation by ImageNet's mean and deviation is inside.
    """

    def __init__(self, n_classes: int = 19, *, width: int = WIDTH, enlarge: int = 1) -> None:
        super().__init__()
        self.n_classes, self.width, self.enlarge = n_classes, width, enlarge
        self.register_buffer("mean", torch.tensor(MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(STD).view(3, 1, 1), persistent=False)
        self.cp = _ContextPath(width)
        self.ffm = _FeatureFusion(4 * width)
        self.conv_out = _Head(4 * width, 4 * width, n_classes)
        self.conv_out16 = _Head(2 * width, width, n_classes)
        self.conv_out32 = _Head(2 * width, width, n_classes)

    def forward(self, img01_BCHW: Tensor) -> Tensor | tuple[Tensor, Tensor, Tensor]:
        """See the class."""
        height, width = img01_BCHW.shape[2:]
        # Arrays have their channels last. With these, and few of them, oneDNN's backward pass (torch 2.13, on a
        # CPU, width 4) writes beyond its memory: "free(): invalid next size".
        x_BCHW = ((img01_BCHW - self.mean) / self.std).contiguous()
        if self.enlarge > 1:
            x_BCHW = F.interpolate(x_BCHW, (height * self.enlarge, width * self.enlarge), mode="bilinear")
        spatial8, context8, context16 = self.cp(x_BCHW)
        outputs = [self.conv_out(self.ffm(spatial8, context8))]
        if self.training:
            outputs += [self.conv_out16(context8), self.conv_out32(context16)]
        logits = tuple(F.interpolate(out, (height, width), mode="bilinear", align_corners=True) for out in outputs)
        return logits if self.training else logits[0]


class _ConvBNReLU(nn.Module):
    def __init__(self, inputs: int, outputs: int, kernel: int = 3) -> None:
        super().__init__()
        self.conv = _conv(inputs, outputs, kernel)
        self.bn = nn.BatchNorm2d(outputs)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv(x_BCHW)))


class _Block(nn.Module):
    """ResNet's basic block (He et al. 2015, arXiv:1512.03385, figure 2)."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = _conv(inputs, outputs, 3, stride)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = _conv(outputs, outputs, 3)
        self.bn2 = nn.BatchNorm2d(outputs)
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(_conv(inputs, outputs, 1, stride), nn.BatchNorm2d(outputs))
        else:
            self.downsample = nn.Sequential()

    def forward(self, x_BCHW: Tensor) -> Tensor:
        y_BCHW = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x_BCHW)))))
        return F.relu(self.downsample(x_BCHW) + y_BCHW)


class _ResNet18(nn.Module):
    """Features at an 8th, a 16th and a 32nd of the sides."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = _conv(3, width, 7, 2)
        self.bn1 = nn.BatchNorm2d(width)
        self.layer1 = nn.Sequential(_Block(width, width, 1), _Block(width, width, 1))
        self.layer2 = nn.Sequential(_Block(width, 2 * width, 2), _Block(2 * width, 2 * width, 1))
        self.layer3 = nn.Sequential(_Block(2 * width, 4 * width, 2), _Block(4 * width, 4 * width, 1))
        self.layer4 = nn.Sequential(_Block(4 * width, 8 * width, 2), _Block(8 * width, 8 * width, 1))

    def forward(self, x_BCHW: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x_BCHW = F.max_pool2d(F.relu(self.bn1(self.conv1(x_BCHW))), 3, 2, 1)
        at8 = self.layer2(self.layer1(x_BCHW))
        at16 = self.layer3(at8)
        return at8, at16, self.layer4(at16)


class _Attention(nn.Module):
    """The paper's attention refinement module (figure 2b)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = _ConvBNReLU(inputs, outputs)
        self.conv_atten = _conv(outputs, outputs, 1)
        self.bn_atten = nn.BatchNorm2d(outputs)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        x_BCHW = self.conv(x_BCHW)
        return x_BCHW * self.bn_atten(self.conv_atten(F.adaptive_avg_pool2d(x_BCHW, 1))).sigmoid()


class _ContextPath(nn.Module):
    """The ResNet's features at an 8th; the context brought up to an 8th, and to a 16th."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.resnet = _ResNet18(width)
        self.arm16 = _Attention(4 * width, 2 * width)
        self.arm32 = _Attention(8 * width, 2 * width)
        self.conv_head32 = _ConvBNReLU(2 * width, 2 * width)
        self.conv_head16 = _ConvBNReLU(2 * width, 2 * width)
        self.conv_avg = _ConvBNReLU(8 * width, 2 * width, 1)

    def forward(self, x_BCHW: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        at8, at16, at32 = self.resnet(x_BCHW)
        mean = self.conv_avg(F.adaptive_avg_pool2d(at32, 1))
        context16 = self.conv_head32(_nearest(self.arm32(at32) + mean, at16.shape[2:]))
        context8 = self.conv_head16(_nearest(self.arm16(at16) + context16, at8.shape[2:]))
        return at8, context8, context16


class _FeatureFusion(nn.Module):
    """The paper's feature fusion module (figure 2c)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.convblk = _ConvBNReLU(channels, channels, 1)
        self.conv1 = _conv(channels, channels // 4, 1)
        self.conv2 = _conv(channels // 4, channels, 1)

    def forward(self, spatial_BCHW: Tensor, context_BCHW: Tensor) -> Tensor:
        x_BCHW = self.convblk(torch.cat([spatial_BCHW, context_BCHW], dim=1))
        weights_BC11 = self.conv2(F.relu(self.conv1(F.adaptive_avg_pool2d(x_BCHW, 1)))).sigmoid()
        return x_BCHW * weights_BC11 + x_BCHW


class _Head(nn.Module):
    def __init__(self, inputs: int, middle: int, n_classes: int) -> None:
        super().__init__()
        self.conv = _ConvBNReLU(inputs, middle)
        self.conv_out = _conv(middle, n_classes, 1)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return self.conv_out(self.conv(x_BCHW))


def _conv(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Conv2d:
    conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
    nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
    return conv


def _nearest(x_BCHW: Tensor, size: Sequence[int]) -> Tensor:
    return F.interpolate(x_BCHW, tuple(size), mode="nearest")
