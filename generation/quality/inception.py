"""The Inception V3 that FID, KID and IS are defined by: TensorFlow's of 2015-12-05 (Szegedy et al. 2016).

Its tensors have the names of the file that pytorch-fid and torch-fidelity publish. It differs from the network that
torchvision has under that name: 1008 classes, averages that leave the border out, a maximum in the last block.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from generation.pictures import pixels_of
from generation.quality.published import Published, fill, read_state

PUBLISHED = Published(
    "Inception V3 (TensorFlow, 2015-12-05)",
    "pt_inception-2015-12-05-6726825d.pth",
    "https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/pt_inception-2015-12-05-6726825d.pth",
    "Apache-2.0",
    "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2",
)
SIDE, FEATURES, CLASSES = 299, 2048, 1008
ROW, COLUMN = (1, 7), (7, 1)
Kernel = int | tuple[int, int]
Steps = Sequence[tuple[int, Kernel]]


class Unit(nn.Module):
    """Convolution, BatchNorm, ReLU; padded so that the size stays, unless it is strided or told otherwise."""

    def __init__(self, inputs: int, outputs: int, kernel: Kernel, stride: int = 1, *, padded: bool = True) -> None:
        super().__init__()
        sides = (kernel, kernel) if isinstance(kernel, int) else kernel
        padding = (sides[0] // 2, sides[1] // 2) if padded and stride == 1 else (0, 0)
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(outputs, eps=1e-3)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """See the class."""
        return F.relu(self.bn(self.conv(x_BCHW)), inplace=True)


class Block(nn.Module):
    """Chains of units side by side, and a pooled branch beside them, joined in the order of their names here.

    `forks`: chains that end in two units, a row and a column, whose outputs both count. `halves`: the last unit of each
    chain is strided, as is the pooled branch, which then has no unit of its own.
    """

    def __init__(
        self,
        inputs: int,
        chains: dict[str, Steps],
        *,
        pooled: int = 0,
        forks: Sequence[str] = (),
        halves: bool = False,
        takes_maximum: bool = False,
    ) -> None:
        super().__init__()
        self.chains: list[list[str]] = []
        self.forks, self.halves, self.takes_maximum = [name in forks for name in chains], halves, takes_maximum
        for name, steps in chains.items():
            names, width = [], inputs
            for place, (outputs, kernel) in enumerate(steps, 1):
                ends = halves and place == len(steps)
                names.append(name if len(steps) == 1 and name not in forks else f"{name}_{place}")
                self.add_module(names[-1], Unit(width, outputs, kernel, 2 if ends else 1))
                width = outputs
            if name in forks:
                ends_in = [f"{name}_{len(steps) + 1}{side}" for side in "ab"]
                for end, kernel in zip(ends_in, ((1, 3), (3, 1))):
                    self.add_module(end, Unit(width, 384, kernel))
                names += ends_in
            self.chains.append(names)
        if pooled:
            self.branch_pool = Unit(inputs, pooled, 1)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """See the class."""
        outputs = []
        for names, is_fork in zip(self.chains, self.forks):
            out = x_BCHW
            for name in names[:-2] if is_fork else names:
                out = self.get_submodule(name)(out)
            outputs += [self.get_submodule(name)(out) for name in names[-2:]] if is_fork else [out]
        return torch.cat([*outputs, self._pooled(x_BCHW)], 1)

    def _pooled(self, x_BCHW: Tensor) -> Tensor:
        if self.halves:
            return F.max_pool2d(x_BCHW, 3, 2)
        if self.takes_maximum:
            return self.branch_pool(F.max_pool2d(x_BCHW, 3, 1, 1))
        return self.branch_pool(F.avg_pool2d(x_BCHW, 3, 1, 1, count_include_pad=False))


def _block_35(inputs: int, pooled: int) -> Block:
    chains: dict[str, Steps] = {
        "branch1x1": [(64, 1)],
        "branch5x5": [(48, 1), (64, 5)],
        "branch3x3dbl": [(64, 1), (96, 3), (96, 3)],
    }
    return Block(inputs, chains, pooled=pooled)


def _block_17(width: int) -> Block:
    chains: dict[str, Steps] = {
        "branch1x1": [(192, 1)],
        "branch7x7": [(width, 1), (width, ROW), (192, COLUMN)],
        "branch7x7dbl": [(width, 1), (width, COLUMN), (width, ROW), (width, COLUMN), (192, ROW)],
    }
    return Block(768, chains, pooled=192)


def _block_8(inputs: int, *, takes_maximum: bool) -> Block:
    chains: dict[str, Steps] = {"branch1x1": [(320, 1)], "branch3x3": [(384, 1)], "branch3x3dbl": [(448, 1), (384, 3)]}
    forks = ("branch3x3", "branch3x3dbl")
    return Block(inputs, chains, pooled=192, forks=forks, takes_maximum=takes_maximum)


class InceptionV3(nn.Module):
    """Pictures uint8 (B, 3, H, W) RGB -> features (B, 2048) and logits without their bias (B, 1008).

    The bias is left out as the Inception Score of torch-fidelity and torchmetrics does.
    """

    def __init__(self) -> None:
        super().__init__()
        self.Conv2d_1a_3x3 = Unit(3, 32, 3, 2)
        self.Conv2d_2a_3x3 = Unit(32, 32, 3, padded=False)
        self.Conv2d_2b_3x3 = Unit(32, 64, 3)
        self.Conv2d_3b_1x1 = Unit(64, 80, 1)
        self.Conv2d_4a_3x3 = Unit(80, 192, 3, padded=False)
        self.Mixed_5b = _block_35(192, 32)
        self.Mixed_5c = _block_35(256, 64)
        self.Mixed_5d = _block_35(288, 64)
        halving: dict[str, Steps] = {"branch3x3": [(384, 3)], "branch3x3dbl": [(64, 1), (96, 3), (96, 3)]}
        self.Mixed_6a = Block(288, halving, halves=True)
        self.Mixed_6b = _block_17(128)
        self.Mixed_6c = _block_17(160)
        self.Mixed_6d = _block_17(160)
        self.Mixed_6e = _block_17(192)
        halving = {"branch3x3": [(192, 1), (320, 3)], "branch7x7x3": [(192, 1), (192, ROW), (192, COLUMN), (192, 3)]}
        self.Mixed_7a = Block(768, halving, halves=True)
        self.Mixed_7b = _block_8(1280, takes_maximum=False)
        self.Mixed_7c = _block_8(2048, takes_maximum=True)
        self.fc = nn.Linear(FEATURES, CLASSES)

    def forward(self, pixels_BCHW: Tensor) -> tuple[Tensor, Tensor]:
        """See the class."""
        x_BCHW = (resized_as_tensorflow(pixels_BCHW.float(), SIDE) - 128) / 128
        x_BCHW = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x_BCHW)))
        x_BCHW = self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(F.max_pool2d(x_BCHW, 3, 2)))
        x_BCHW = F.max_pool2d(x_BCHW, 3, 2)
        for name, block in self.named_children():
            if name.startswith("Mixed"):
                x_BCHW = block(x_BCHW)
        features_BF = x_BCHW.mean((2, 3))
        return features_BF, features_BF @ self.fc.weight.T


class InceptionEyes:
    """What the network sees in pictures img01 (B, 3, S, S): features and logits, float32 (B, 2048 + 1008)."""

    def __init__(self, path: Path) -> None:
        """From a local file; InputError where it holds another network."""
        with torch.device("meta"):  # nothing is drawn at random that the file replaces
            self.network = InceptionV3()
        fill(self.network, read_state(path), path)
        self.by = PUBLISHED.name_of(path)

    @torch.no_grad()
    def __call__(self, img01_BCHW: Tensor) -> Tensor:
        """See the class; pictures are seen as files keep them, in 256 levels."""
        return torch.cat(self.network(pixels_of(img01_BCHW).permute(0, 3, 1, 2)), 1)


def resized_as_tensorflow(x_BCHW: Tensor, side: int) -> Tensor:
    """Bilinear, `side` square, as TensorFlow 1 does it: pixel i of the result lies at i * (old / new) of the old.

    No half pixel, and no averaging where pictures become smaller.
    """
    for dim in (2, 3):
        old = x_BCHW.shape[dim]
        at_S = torch.arange(side, dtype=torch.float64, device=x_BCHW.device) * (old / side)
        low_S = at_S.floor().long()
        high_S = (low_S + 1).clamp_max(old - 1)
        part_S = (at_S - low_S).to(x_BCHW.dtype)
        part_S = part_S[:, None] if dim == 2 else part_S
        x_BCHW = torch.lerp(x_BCHW.index_select(dim, low_S), x_BCHW.index_select(dim, high_S), part_S)
    return x_BCHW
