"""What the source picture is read by: a recogniser of ours, a network of timm, or a small one trained along.

All take pictures (B, 3, S, S) in [-1, 1] and prepare them as their network is used to.
"""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from generation.backbone import FrozenBackbone
from generation.pictures import resized
from recognition.errors import InputError
from recognition.log import LOG
from recognition.weights import read_torch_file

RECOGNISER, TIMM, CNN = "recogniser", "timm:", "cnn"
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CNN_WIDTHS = (64, 128, 256, 512)
UNTRAINED = "untrained"  # for weights that a checkpoint has
INSTALL_TIMM = "pip install timm (it needs a torchvision that fits your torch)"


class Encoded(NamedTuple):
    """Feature maps of a picture, fine to coarse, each half as fine as the one before; the last one's mean (B, C)."""

    maps: tuple[Tensor, Tensor, Tensor, Tensor]
    pooled_BC: Tensor


class Encoder(nn.Module):
    """What all encoders have: `channels` of their four maps, and `facts` that say which network it is."""

    channels: tuple[int, int, int, int]
    facts: dict[str, Any]

    def forward(self, img11_BCHW: Tensor) -> Encoded:
        """Maps and their mean."""
        raise NotImplementedError


class RecogniserEncoder(Encoder):
    """The convolutional part of a recogniser; without `freeze` it is trained with what holds it.

    Pictures of another size are resized to the recogniser's. A frozen one has no part in state dicts and optimizers.
    """

    def __init__(self, backbone: FrozenBackbone, *, freeze: bool = True) -> None:
        super().__init__()
        self.backbone = backbone
        if not freeze:
            self.network = backbone.network.requires_grad_(True)
        with torch.no_grad():
            side = backbone.image_size
            layers = backbone.taps(torch.zeros(1, 3, side, side, device=backbone.device)).layers
        self.channels = tuple(layer.shape[1] for layer in layers)
        known = {key: backbone.facts[key] for key in ("network", "sha256") if key in backbone.facts}
        self.facts = {"encoder": RECOGNISER, **known, "frozen": freeze}

    def forward(self, img11_BCHW: Tensor) -> Encoded:
        """See Encoder; the gradient to the picture is there where the picture wants one."""
        img01_BCHW = (resized(img11_BCHW, self.backbone.image_size) + 1) / 2
        layers = self.backbone.taps(img01_BCHW).layers
        return Encoded(layers, layers[-1].mean((2, 3)))


class TimmEncoder(Encoder):
    """A network of timm with ImageNet's weights and without its classifier; resnet50 gives 2048 numbers.

    InputError where timm is missing, and for networks without layer1 to layer4.
    """

    def __init__(self, name: str, *, weights: str | PathLike | None = None, freeze: bool = True) -> None:
        super().__init__()
        self.freeze = freeze
        self.backbone = _timm_network(name, weights).requires_grad_(not freeze)
        stages = [getattr(self.backbone, f"layer{place}", None) for place in range(1, 5)]
        if None in stages:
            raise InputError(f"{TIMM}{name} has no layer1 to layer4; name a ResNet of timm")
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(3, 1, 1), persistent=False)
        self.channels = tuple(_outputs(stage[-1]) for stage in stages)
        self.facts = {"encoder": TIMM + name, "frozen": freeze}

    def train(self, mode: bool = True) -> TimmEncoder:
        """A frozen network stays in eval mode: its statistics would change else."""
        super().train(mode)
        if self.freeze:
            self.backbone.eval()
        return self

    def forward(self, img11_BCHW: Tensor) -> Encoded:
        """See Encoder."""
        net, maps = self.backbone, []
        x = ((img11_BCHW + 1) / 2 - self.mean) / self.std
        x = net.maxpool(net.act1(net.bn1(net.conv1(x))))
        for stage in (net.layer1, net.layer2, net.layer3, net.layer4):
            x = stage(x)
            maps.append(x)
        return Encoded(tuple(maps), x.mean((2, 3)))


class ConvolutionEncoder(Encoder):
    """Four convolutions of stride 2, trained along: what is left where there is no recogniser."""

    def __init__(self) -> None:
        super().__init__()
        sides = zip((3, *CNN_WIDTHS), CNN_WIDTHS)
        self.encoder = nn.ModuleList(nn.Conv2d(a, b, 3, 2, 1) for a, b in sides)
        self.channels = CNN_WIDTHS
        self.facts = {"encoder": CNN, "frozen": False}

    def forward(self, img11_BCHW: Tensor) -> Encoded:
        """See Encoder."""
        x, maps = img11_BCHW, []
        for convolution in self.encoder:
            x = F.relu(convolution(x))
            maps.append(x)
        return Encoded(tuple(maps), x.mean((2, 3)))


def build_encoder(
    kind: str,
    *,
    recogniser: FrozenBackbone | str | PathLike | None = None,
    weights: str | PathLike | None = None,
    freeze: bool = True,
    strict: bool = False,
) -> Encoder:
    """The encoder `kind`: "recogniser", "timm:NAME" or "cnn".

    `recogniser`: anything that recognition opens; `weights`: of timm's network, from a file instead of timm's own
    cache. What cannot be had is replaced by "cnn", with a warning and `facts["instead_of"]`; with `strict` that is an
    InputError. Weights that were named and do not fit are an InputError in any case.
    """
    if kind == CNN:
        return ConvolutionEncoder()
    if kind == RECOGNISER and recogniser is not None:
        opened = recogniser if isinstance(recogniser, FrozenBackbone) else FrozenBackbone.open(recogniser)
        return RecogniserEncoder(opened, freeze=freeze)
    if kind == RECOGNISER:
        missing = "no recogniser was named: give the run or the weights of one (--recogniser)"
    elif kind.startswith(TIMM) and kind != TIMM:
        try:
            return TimmEncoder(kind.removeprefix(TIMM), weights=weights, freeze=freeze)
        except (ImportError, RuntimeError, OSError) as error:
            missing = f"{kind} cannot be had ({_one_line(error)}): {INSTALL_TIMM}"
    else:
        raise InputError(f"encoder {kind!r} is not known; use {RECOGNISER}, {TIMM}resnet50 or {CNN}")
    if strict:
        raise InputError(f"{missing}; without --strict_encoder a small network is trained in its place")
    LOG.warning("%s; a small network is trained in its place", missing)
    encoder = ConvolutionEncoder()
    encoder.facts["instead_of"] = kind
    return encoder


def _timm_network(name: str, weights: str | PathLike | None) -> nn.Module:
    import timm

    if name not in timm.list_models(name):
        raise InputError(f"timm knows no {name!r}; `python -c 'import timm; print(timm.list_models())'` lists them")
    network = timm.create_model(name, pretrained=weights is None, num_classes=0, global_pool="avg")
    if weights in (None, UNTRAINED):
        return network
    state = {
        key: value for key, value in read_torch_file(Path(weights)).items() if not key.startswith(("fc.", "head."))
    }
    unfit = network.load_state_dict(state, strict=False)
    if unfit.missing_keys or unfit.unexpected_keys:
        raise InputError(f"{weights} does not fit timm's {name}: {(unfit.missing_keys + unfit.unexpected_keys)[:3]}")
    return network


def _outputs(block: nn.Module) -> int:
    """Channels that a block of a ResNet gives: those of its last convolution."""
    return (block.conv3 if hasattr(block, "conv3") else block.conv2).out_channels


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
