"""The network of FID against torch-fidelity's, of which a few numbers are kept here."""

import pytest
import torch

from generation.quality.inception import InceptionEyes, InceptionV3, resized_as_tensorflow
from recognition.errors import InputError
from tests.generation.quality.drawn_weights import drawn_pixels, drawn_state

# What torch-fidelity 0.4.0 (FeatureExtractorInceptionV3) gives for these weights and pictures.
THEIRS = {
    32: ([0.0, 5.412534713745117, 0.0, 1.7203280925750732], [-0.8140442967414856, 1.7917615175247192]),
    400: ([0.0, 6.498291969299316, 0.0, 2.059699058532715], [-1.009477972984314, 2.1620969772338867]),
}


@pytest.fixture(scope="module")
def network():
    network = InceptionV3()
    network.load_state_dict(drawn_state(network))
    return network.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def file(network, tmp_path_factory):
    path = tmp_path_factory.mktemp("inception") / "drawn.pth"
    torch.save(network.state_dict(), path)
    return path


@pytest.mark.parametrize("side", THEIRS)
def test_it_is_torch_fidelitys(network, side):
    features, logits = network(drawn_pixels(side)[:1])
    for ours, theirs in zip((features[0, :4], logits[0, :2]), THEIRS[side]):
        torch.testing.assert_close(ours, torch.tensor(theirs), rtol=1e-5, atol=1e-5)


def test_its_size_is_that_of_the_published_file():
    """95,628,359 bytes: the tensors, four bytes a number, and the list of them, less than 200 bytes each."""
    with torch.device("meta"):
        state = InceptionV3().state_dict()
    numbers = sum(each.numel() for key, each in state.items() if "num_batches" not in key)
    assert 0 < 95_628_359 - 4 * numbers < 200 * len(state)
    assert state["Mixed_7c.branch3x3dbl_3b.conv.weight"].shape == (384, 384, 3, 1)


def test_resized_as_tensorflow_by_hand():
    """Pixel i of the result lies at i * old / new; what is past the last pixel is the last pixel."""
    x_1133 = torch.tensor([[0.0, 10, 20]]).expand(3, 3)[None, None]
    row = resized_as_tensorflow(x_1133, 6)[0, 0, 0]
    assert row.tolist() == [0, 5, 10, 15, 20, 20]
    assert resized_as_tensorflow(x_1133.mT, 6)[0, 0, :, 0].tolist() == row.tolist()
    # One in two is left out, not averaged.
    assert resized_as_tensorflow(torch.arange(8.0).expand(1, 1, 8, 8), 4)[0, 0, 0].tolist() == [0, 2, 4, 6]


def test_eyes_see_what_a_file_keeps(network, file):
    eyes = InceptionEyes(file)
    pixels = drawn_pixels(32)[:1]
    seen = eyes(pixels / 255 + 0.3 / 255)
    assert torch.equal(seen, torch.cat(network(pixels), 1))


def test_other_weights_than_the_published_are_named_so(file):
    assert InceptionEyes(file).by.startswith(
        "Inception V3 (TensorFlow, 2015-12-05), of other weights than the published"
    )


def test_a_file_of_another_network(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        InceptionEyes(tmp_path / "none.pth")
    for content, said in (
        ({"a": torch.zeros(1)}, "holds no Conv2d_1a_3x3.conv.weight: it is of another network"),
        ({"Conv2d_1a_3x3.conv.weight": torch.zeros(1)}, r"weight is \(1,\), not \(32, 3, 3, 3\)"),
        ([1], "holds no state dict"),
    ):
        torch.save(content, tmp_path / "other.pth")
        with pytest.raises(InputError, match=said):
            InceptionEyes(tmp_path / "other.pth")
