"""LPIPS: how unlike two pictures look to people, by what a network of ImageNet sees in them (Zhang et al. 2018)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from generation.quality.published import Published, fill, read_state
from recognition.errors import InputError

ALEXNET = Published(
    "LPIPS of AlexNet",
    "alexnet-owt-7be5be79.pth",
    "https://download.pytorch.org/models/alexnet-owt-7be5be79.pth",
    "BSD-3-Clause; trained on ImageNet",
    "7be5be791159472b1fbf3c69796f7cb30dca7ad8466c2df70058c37116cdee02",
)
VGG16 = Published(
    "LPIPS of VGG16",
    "vgg16-397923af.pth",
    "https://download.pytorch.org/models/vgg16-397923af.pth",
    "BSD-3-Clause; trained on ImageNet",
    "397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0",
)
ONLY_VGG = "features.28.weight"  # a tensor that AlexNet's file has not
TAPS = {"alex": (1, 4, 7, 9, 11), "vgg": (3, 8, 15, 22, 29)}  # places of the layers that are compared
WIDTHS = {"alex": (64, 192, 384, 256, 256), "vgg": (64, 128, 256, 512, 512)}
# Per channel, of pictures in [-1, 1].
MEAN, STD = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
LEAST_SIDE = 32  # pixels, of which AlexNet leaves one
EPSILON = 1e-8


def alexnet_layers() -> nn.Sequential:
    """The convolutions of AlexNet (Krizhevsky 2014), as torchvision numbers them, up to the last that is looked at."""
    layers: list[nn.Module] = [nn.Conv2d(3, 64, 11, 4, 2), nn.ReLU(), nn.MaxPool2d(3, 2)]
    layers += [nn.Conv2d(64, 192, 5, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2)]
    for inputs, outputs in ((192, 384), (384, 256), (256, 256)):
        layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU()]
    return nn.Sequential(*layers)


def vgg16_layers() -> nn.Sequential:
    """The convolutions of VGG16 (Simonyan and Zisserman 2015), likewise."""
    layers: list[nn.Module] = []
    inputs = 3
    for place, (outputs, count) in enumerate(zip(WIDTHS["vgg"], (2, 2, 3, 3, 3))):
        if place:
            layers.append(nn.MaxPool2d(2, 2))
        for _ in range(count):
            layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU()]
            inputs = outputs
    return nn.Sequential(*layers)


class Lpips(nn.Module):
    """Pairs of pictures img01 (B, 3, H, W) -> distances (B,), 0 for equal ones; `kind`: alex or vgg."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.features = alexnet_layers() if kind == "alex" else vgg16_layers()
        self.taps: Sequence[int] = TAPS[kind]
        for place, width in enumerate(WIDTHS[kind]):
            self.register_buffer(f"weight_{place}", torch.zeros(1, width, 1, 1))
        for name, values in (("mean", MEAN), ("std", STD)):
            self.register_buffer(name, torch.tensor(values).reshape(1, 3, 1, 1), persistent=False)

    @torch.no_grad()
    def forward(self, a_BCHW: Tensor, b_BCHW: Tensor) -> Tensor:
        """Eq. 1: squared differences of unit vectors, weighted by channel, averaged over places, added over layers."""
        require_side(min(a_BCHW.shape[2:]))
        distance_B = a_BCHW.new_zeros(len(a_BCHW))
        for place, (of_a, of_b) in enumerate(zip(self._seen(a_BCHW), self._seen(b_BCHW))):
            distance_B += ((of_a - of_b).square() * self.get_buffer(f"weight_{place}")).sum(1).mean((1, 2))
        return distance_B

    def _seen(self, img01_BCHW: Tensor) -> list[Tensor]:
        x_BCHW = (img01_BCHW * 2 - 1 - self.mean) / self.std
        out = []
        for place, layer in enumerate(self.features):
            x_BCHW = layer(x_BCHW)
            if place in self.taps:
                out.append(x_BCHW / (x_BCHW.square().sum(1, keepdim=True) + EPSILON).sqrt())
        return out


def require_side(side: int) -> None:
    """InputError for pictures of which the networks leave nothing."""
    if side < LEAST_SIDE:
        raise InputError(f"LPIPS needs pictures of {LEAST_SIDE} pixels or more, not {side}")


def open_lpips(path: Path) -> tuple[Lpips, str]:
    """From a local file of AlexNet or VGG16 in torchvision's layout, and what figures by it are by.

    The weights of the channels come with torchmetrics. InputError for another network, or without torchmetrics.
    """
    state = read_state(path)
    kind, published = ("vgg", VGG16) if ONLY_VGG in state else ("alex", ALEXNET)
    lpips = Lpips(kind)
    of_channels = channel_weights(kind)
    fill(lpips, {**state, **of_channels}, path)
    return lpips, published.name_of(path)


def channel_weights(kind: str) -> dict[str, Tensor]:
    """The published weights of the channels, by the names of Lpips' buffers (Zhang et al. 2018, version 0.1)."""
    try:
        import torchmetrics
    except ImportError as error:
        raise InputError("LPIPS needs torchmetrics: pip install -e '.[generation]'") from error
    path = Path(torchmetrics.__file__).parent / "functional" / "image" / "lpips_models" / f"{kind}.pth"
    state = read_state(path)
    return {f"weight_{place}": state[f"lin{place}.model.1.weight"] for place in range(len(WIDTHS[kind]))}


def mean_lpips(lpips: Lpips, a_NCHW: Tensor, b_NCHW: Tensor, batch: int) -> float:
    """The mean over pairs of pictures."""
    pairs = zip(a_NCHW.split(batch), b_NCHW.split(batch))
    return float(torch.cat([lpips(a_BCHW, b_BCHW) for a_BCHW, b_BCHW in pairs]).mean())
