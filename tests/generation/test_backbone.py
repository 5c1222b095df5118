"""A frozen recogniser: its embeddings are the recogniser's, and nothing that a parent does changes it."""

import copy

import pytest
import torch
from torch import nn

from generation import FrozenBackbone, Taps
from recognition.backbones import build_backbone
from recognition.data.transforms import to_input
from recognition.embedding.models import open_embedder
from recognition.errors import InputError
from recognition.export.onnx_file import export_onnx
from recognition.weights import save_backbone
from tests.settled import faces, settled_backbone


def states(frozen):
    return {key: value.clone() for key, value in frozen.network.state_dict().items()}


def same(before, after):
    return before.keys() == after.keys() and all(torch.equal(before[key], after[key]) for key in before)


class Parent(nn.Module):
    """What trains: a picture, a few weights, and a recogniser that judges them."""

    def __init__(self, size=32):
        super().__init__()
        self.judge = FrozenBackbone(build_backbone("r_tiny", 16, image_size=size), image_size=size)
        self.paint = nn.Conv2d(3, 3, 3, padding=1)
        self.norm = nn.BatchNorm2d(3)

    def forward(self, img01_BCHW):
        painted = torch.sigmoid(self.norm(self.paint(img01_BCHW)))
        return 1 - torch.cosine_similarity(self.judge(painted), self.judge(img01_BCHW).detach(), dim=1).mean()


def test_fifty_steps_of_a_parent_change_every_weight_but_its():
    torch.manual_seed(0)
    parent = Parent()
    before, own = states(parent.judge), copy.deepcopy(parent.state_dict())
    optimizer = torch.optim.AdamW(parent.parameters(), lr=0.01, weight_decay=0.1)
    for _ in range(50):
        parent.train()
        loss = parent(torch.rand(4, 3, 32, 32))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert same(before, states(parent.judge))
    assert all(not torch.equal(own[key], value) for key, value in parent.state_dict().items())
    assert not any(part.training for part in parent.judge.network.modules())
    assert all(parameter.grad is None for parameter in parent.judge.network.parameters())


def test_nobody_else_counts_it_among_its_own():
    parent = Parent()
    assert not [key for key in parent.state_dict() if key.startswith("judge")]
    assert len(list(parent.parameters())) == 4
    parent.load_state_dict(Parent().state_dict(), strict=True)
    parent.requires_grad_(True)
    assert not any(parameter.requires_grad for parameter in parent.judge.network.parameters())


@pytest.mark.parametrize("cast", [lambda m: m.bfloat16(), lambda m: m.half(), lambda m: m.to(torch.bfloat16)])
def test_it_keeps_its_precision_under_a_parent_in_half(cast):
    parent = Parent().eval()
    before, x = states(parent.judge), torch.rand(2, 3, 32, 32)
    expected = parent.judge(x)
    cast(parent)
    assert parent.paint.weight.dtype != torch.float32
    assert same(before, states(parent.judge))
    with torch.autocast("cpu", torch.bfloat16):
        found = parent.judge(x)
    assert torch.equal(found, expected)
    assert parent.judge(x.bfloat16()).dtype == torch.float32
    meta = Parent().to("meta").judge
    assert (meta.device.type, next(meta.network.buffers()).device.type) == ("meta", "meta")


@pytest.mark.parametrize("name", ["r_tiny", "mbf_tiny", "vit_tiny"])
def test_the_gradient_reaches_the_picture_and_is_right(name):
    torch.manual_seed(0)
    size = {"vit_tiny": 27}.get(name, 32)
    frozen = FrozenBackbone(build_backbone(name, 8, image_size=size), image_size=size)
    x = torch.rand(1, 3, size, size, requires_grad=True)
    (grad,) = torch.autograd.grad(frozen(x)[0, 3], x)
    assert (grad != 0).float().mean() > 0.9
    with torch.no_grad():
        # Along the gradient itself: what float32 can show of it.
        step = 1e-2 * grad / grad.norm()
        slope = (frozen(x + step) - frozen(x - step))[0, 3].item() / 2e-2
        assert slope == pytest.approx(grad.norm().item(), rel=0.02)
        assert frozen(x).grad_fn is None


def test_a_network_in_double_precision_stays_in_it():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 2, 3), nn.Tanh(), nn.Flatten(), nn.Linear(72, 4)).double()
    frozen = FrozenBackbone(network, image_size=8)
    assert torch.autograd.gradcheck(frozen, torch.rand(1, 3, 8, 8, dtype=torch.float64, requires_grad=True))
    assert frozen.float()(torch.rand(1, 3, 8, 8)).dtype == torch.float64


def test_its_embeddings_are_those_that_verification_has(tmp_path):
    module = settled_backbone("mbf_tiny", 16)
    meta = {"network": "mbf_tiny", "embedding_size": 16, "image_size": 112, "channel_order": "BGR", "mean": 120.0}
    save_backbone(tmp_path / "m.safetensors", module, meta)
    images_BHWC = torch.from_numpy(faces(2))
    frozen = FrozenBackbone.open(tmp_path / "m.safetensors")
    expected = open_embedder(tmp_path / "m.safetensors")(to_input(images_BHWC))
    found = frozen(images_BHWC.permute(0, 3, 1, 2) / 255)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    assert (frozen.embedding_size, frozen.image_size, frozen.device.type) == (16, 112, "cpu")
    plain = FrozenBackbone.open(tmp_path / "m.safetensors", preprocess="arcface")
    assert not torch.allclose(plain(images_BHWC.permute(0, 3, 1, 2) / 255), expected, atol=1e-3)


@pytest.mark.parametrize(("name", "channels"), [("r18", (64, 128, 256, 512)), ("mbf", (128, 128, 256, 256))])
def test_taps_are_the_maps_at_four_resolutions(name, channels):
    frozen = FrozenBackbone(build_backbone(name))
    x = torch.rand(1, 3, 112, 112)
    taps = frozen.taps(x)
    assert isinstance(taps, Taps)
    assert [tuple(tap.shape) for tap in taps.layers] == [(1, c, s, s) for c, s in zip(channels, (56, 28, 14, 7))]
    assert torch.equal(taps.emb_BD, frozen(x))
    if name == "r18":
        network = frozen.network
        stem = network.prelu(network.bn1(network.conv1(x * 2 - 1)))
        assert torch.equal(taps.layers[1], network.layer2(network.layer1(stem)))
    assert not any(part._forward_hooks for part in frozen.network.modules())


def test_what_does_not_fit_is_said(tmp_path):
    frozen = FrozenBackbone(build_backbone("r_tiny", 16, image_size=32), image_size=32)
    for shape in ((1, 3, 112, 112), (3, 32, 32), (1, 1, 32, 32)):
        with pytest.raises(InputError, match=r"do not fit a recogniser of \(B, 3, 32, 32\)"):
            frozen(torch.zeros(shape))
    with pytest.raises(InputError, match="has no feature maps at four resolutions"):
        FrozenBackbone(build_backbone("vit_tiny", 16, image_size=27), image_size=27).taps(torch.zeros(1, 3, 27, 27))
    export_onnx(nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, 8)), tmp_path / "model.onnx", {"image_size": 16})
    with pytest.raises(InputError, match=r"model.onnx runs outside torch, so no gradient passes it"):
        FrozenBackbone.open(tmp_path / "model.onnx")
