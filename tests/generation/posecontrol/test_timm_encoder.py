"""The encoder from timm: prepared as ImageNet's networks are, 2048 numbers, frozen with its statistics.

timm needs a torchvision, which has no build for some torches; where it is missing, a network of the same make stands in
for it, and what is tested is what we do with it.
"""

import importlib.util
import sys
from types import ModuleType

import pytest
import torch
from torch import nn

from generation.posecontrol.encoders import IMAGENET_MEAN, IMAGENET_STD, build_encoder
from recognition.errors import InputError
from tests.generation.posecontrol.small_model import pictures, small

HAS_TIMM = importlib.util.find_spec("timm") is not None


class Stage(nn.Sequential):
    """A bottleneck's last convolution, as timm names it."""

    def __init__(self, inputs, outputs, stride):
        block = nn.Module()
        block.conv3 = nn.Conv2d(inputs, outputs, 1, stride)
        block.bn3 = nn.BatchNorm2d(outputs)
        block.forward = lambda x: torch.relu(block.bn3(block.conv3(x)))
        super().__init__(block)


class StandIn(nn.Module):
    """The names and widths of timm's resnet50."""

    def __init__(self):
        super().__init__()
        self.conv1, self.bn1, self.act1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU()
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        widths = (64, 256, 512, 1024, 2048)
        for place, (a, b) in enumerate(zip(widths, widths[1:]), 1):
            setattr(self, f"layer{place}", Stage(a, b, 1 if place == 1 else 2))


@pytest.fixture
def timm(monkeypatch):
    """timm, or a module that has of it what we use."""
    if HAS_TIMM:
        import timm

        return timm
    module = ModuleType("timm")
    module.asked = []
    module.list_models = lambda name: ["resnet50"] if name == "resnet50" else []

    def create_model(name, **how):
        module.asked.append(how)
        torch.manual_seed(0)
        return StandIn()

    module.create_model = create_model
    monkeypatch.setitem(sys.modules, "timm", module)
    return module


def test_pictures_are_prepared_as_imagenets_are(timm):
    encoder = build_encoder("timm:resnet50", weights="untrained").eval()
    seen = []
    encoder.backbone.conv1.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    encoder(torch.full((1, 3, 64, 64), -1.0))
    encoder(torch.full((1, 3, 64, 64), 1.0))
    for got, level in zip(seen, (0.0, 1.0)):
        wanted = [(level - mean) / std for mean, std in zip(IMAGENET_MEAN, IMAGENET_STD)]
        assert torch.allclose(got[0, :, 5, 5], torch.tensor(wanted))


def test_maps_and_their_mean(timm):
    encoded = build_encoder("timm:resnet50", weights="untrained").eval()(pictures(2, 64))
    assert [tuple(each.shape[1:]) for each in encoded.maps] == [(256, 16, 16), (512, 8, 8), (1024, 4, 4), (2048, 2, 2)]
    assert encoded.pooled_BC.shape == (2, 2048)
    assert torch.allclose(encoded.pooled_BC, encoded.maps[-1].mean((2, 3)))


def test_frozen_with_its_statistics(timm):
    model = small(image_size=64, encoder="timm:resnet50", encoder_weights="untrained", recogniser=None).train()
    assert model.feature_proj[0].in_features == 2048
    whole = small(image_size=64, encoder="timm:resnet50", encoder_weights="untrained", recogniser=None, feature_dim=512)
    assert sum(parameter.numel() for parameter in whole.feature_proj.parameters()) == 1_050_112
    before = model.encoder.backbone.bn1.running_mean.clone()
    model(pictures(4, 64), torch.zeros(4, 3)).image_BCHW.mean().backward()
    assert torch.equal(before, model.encoder.backbone.bn1.running_mean)
    assert all(parameter.grad is None for parameter in model.encoder.parameters())


def test_weights_from_a_file(timm, tmp_path):
    donor = build_encoder("timm:resnet50", weights="untrained").backbone
    with torch.no_grad():
        donor.conv1.weight.mul_(3)
    torch.save({**donor.state_dict(), "fc.weight": torch.zeros(1)}, tmp_path / "w.pth")
    opened = build_encoder("timm:resnet50", weights=tmp_path / "w.pth").backbone
    assert torch.equal(opened.conv1.weight, donor.conv1.weight)
    torch.save({"conv1.weight": donor.conv1.weight}, tmp_path / "part.pth")
    with pytest.raises(InputError, match=r"part\.pth does not fit timm's resnet50"):
        build_encoder("timm:resnet50", weights=tmp_path / "part.pth")


def test_a_network_that_timm_does_not_know(timm):
    with pytest.raises(InputError, match="knows no 'resnet51'"):
        build_encoder("timm:resnet51")


@pytest.mark.skipif(HAS_TIMM, reason="timm is installed: it is not missing here")
def test_without_timm_a_small_network_is_trained(caplog):
    encoder = build_encoder("timm:resnet50")
    assert encoder.facts == {"encoder": "cnn", "frozen": False, "instead_of": "timm:resnet50"}
    assert "pip install timm" in caplog.text
    with pytest.raises(InputError, match="pip install timm"):
        build_encoder("timm:resnet50", strict=True)
