"""LPIPS against torchmetrics, whose network is given the same drawn weights; and what holds for any weights."""

import pytest
import torch

from generation.quality.lpips import (
    ALEXNET,
    VGG16,
    Lpips,
    alexnet_layers,
    channel_weights,
    mean_lpips,
    open_lpips,
    vgg16_layers,
)
from recognition.errors import InputError
from tests.generation.quality.drawn_weights import drawn_pixels, drawn_state

theirs = pytest.importorskip("torchmetrics.functional.image.lpips")
LAYERS = {"alex": alexnet_layers, "vgg": vgg16_layers}


def drawn(kind):
    layers = LAYERS[kind]()
    layers.load_state_dict(drawn_state(layers))
    return layers


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lpips")
    for kind in LAYERS:
        state = {f"features.{key}": value for key, value in drawn(kind).state_dict().items()}
        # A classifier, which nobody looks at.
        torch.save({**state, "classifier.6.bias": torch.zeros(1000)}, folder / f"{kind}.pth")
    return folder


@pytest.mark.parametrize("kind", LAYERS)
def test_it_is_that_of_torchmetrics(files, kind, monkeypatch):
    monkeypatch.setattr(theirs, "_get_tv_model_features", lambda net, pretrained: drawn(kind))
    reference = theirs._LPIPS(pretrained=True, net=kind, eval_mode=True)
    ours, _ = open_lpips(files / f"{kind}.pth")
    a, b = drawn_pixels(64)[:, :, :, :48] / 255, drawn_pixels(64, seed=2)[:, :, :, :48] / 255
    with torch.no_grad():
        wanted = reference(a * 2 - 1, b * 2 - 1).flatten()
    torch.testing.assert_close(ours(a, b), wanted, rtol=1e-5, atol=1e-7)
    assert mean_lpips(ours, a, b, 1) == pytest.approx(wanted.mean().item(), rel=1e-5)


def test_equal_pictures_and_noise(files):
    ours, by = open_lpips(files / "alex.pth")
    a = drawn_pixels(64) / 255
    assert ours(a, a).tolist() == [0, 0]
    noise = torch.randn(a.shape, generator=torch.Generator().manual_seed(0))
    distances = [ours(a, a + strength * noise).mean().item() for strength in (0.02, 0.1, 0.5)]
    assert distances == sorted(distances)
    assert distances[0] > 0
    assert by.startswith("LPIPS of AlexNet, of other weights than the published: alex.pth")


def test_which_network_a_file_is_of(files):
    assert open_lpips(files / "vgg.pth")[1].startswith("LPIPS of VGG16")
    for published in (ALEXNET, VGG16):
        assert published.sha256.startswith(published.file[-12:-4])


def test_channel_weights_are_the_published():
    """None is negative, or a greater difference could be a smaller distance."""
    for kind, widths in (("alex", [64, 192, 384, 256, 256]), ("vgg", [64, 128, 256, 512, 512])):
        weights = channel_weights(kind)
        assert [each.shape[1] for each in weights.values()] == widths
        assert min(each.min() for each in weights.values()) >= 0


def test_small_pictures(files):
    ours, _ = open_lpips(files / "alex.pth")
    assert ours(torch.rand(1, 3, 32, 32), torch.rand(1, 3, 32, 32)).shape == (1,)
    with pytest.raises(InputError, match="32 pixels or more, not 16"):
        ours(torch.rand(1, 3, 16, 16), torch.rand(1, 3, 16, 16))


def test_a_file_of_another_network(tmp_path):
    torch.save({"a": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(InputError, match="holds no features.0.weight"):
        open_lpips(tmp_path / "other.pth")
    assert isinstance(Lpips("alex"), torch.nn.Module)
