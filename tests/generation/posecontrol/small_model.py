"""Small models of ImageControlNet around a recogniser that was never trained."""

import torch

from generation import FrozenBackbone, ImageControlNet
from recognition.backbones import build_backbone


def recogniser(side=32, network="r_tiny"):
    """A frozen network with statistics that are not 0 and 1, so that they count."""
    torch.manual_seed(3)
    net = build_backbone(network, embedding_size=32, image_size=side)
    for name, buffer in net.named_buffers():
        if name.endswith(("running_mean", "running_var")):
            buffer.copy_(torch.rand_like(buffer) + 0.5)
    return FrozenBackbone(net, image_size=side, facts={"network": network, "sha256": "abc"})


def small(**changed):
    """A model of 32 pixels that begins alike each time."""
    torch.manual_seed(0)
    given = {"feature_dim": 16, "image_size": 32, "generator_width": 4, "recogniser": recogniser()}
    return ImageControlNet(**{**given, **changed})


def pictures(count=2, side=32, seed=1):
    """Pictures in [-1, 1]."""
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def poses(count=2, seed=2):
    """Degrees of pitch, yaw and roll."""
    return (torch.rand(count, 3, generator=torch.Generator().manual_seed(seed)) - 0.5) * 100
