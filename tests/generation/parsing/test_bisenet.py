"""The network has the published layout, gives what it should, and opens what was trained elsewhere."""

import pytest
import torch
import torch.nn.functional as F

from generation.parsing.bisenet import BiSeNet
from generation.parsing.opening import open_network, open_parser
from recognition.errors import InputError
from tests.generation.parsing.published_layout import layout


def test_names_and_shapes_are_the_published_ones():
    published = layout()
    found = {name: tuple(tensor.shape) for name, tensor in BiSeNet().state_dict().items()}
    assert found == published
    assert len(published) == 191
    # The published file has 53 MB: 13.3 million numbers of 4 bytes.
    assert 53.0e6 < 4 * sum(tensor.numel() for tensor in BiSeNet().state_dict().values()) < 53.4e6


def test_logits_are_as_large_as_the_picture_whatever_its_size():
    net = BiSeNet(5, width=4)
    x = torch.rand(2, 3, 40, 72)
    assert [each.shape for each in net(x)] == 3 * [(2, 5, 40, 72)]
    assert net.eval()(x).shape == (2, 5, 40, 72)


def test_pictures_are_normalised_by_imagenets_mean_and_deviation():
    net = BiSeNet(5, width=4).eval()
    seen = []
    net.cp.resnet.conv1.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0]))
    x = torch.rand(1, 3, 32, 32)
    net(x)
    red, green, blue = seen[0][0]
    torch.testing.assert_close(red, (x[0, 0] - 0.485) / 0.229)
    torch.testing.assert_close(green, (x[0, 1] - 0.456) / 0.224)
    torch.testing.assert_close(blue, (x[0, 2] - 0.406) / 0.225)


def test_the_whole_is_what_the_paper_draws():
    """The forward pass once more, written down from the figure with functions alone."""
    torch.manual_seed(0)
    net = BiSeNet(7, width=4).eval()
    for name, tensor in net.state_dict().items():
        if name.endswith(("running_mean", "bias")):
            tensor.normal_(0, 0.3)
        elif name.endswith("running_var"):
            tensor.uniform_(0.5, 2)
    state = net.state_dict()

    def conv(x, name, stride=1):
        weight = state[f"{name}.weight"]
        return F.conv2d(x, weight, stride=stride, padding=weight.shape[2] // 2)

    def norm(x, name):
        keys = ("running_mean", "running_var", "weight", "bias")
        return F.batch_norm(x, *(state[f"{name}.{key}"] for key in keys))

    def unit(x, name):
        return norm(conv(x, f"{name}.conv"), f"{name}.bn").relu()

    def block(x, name, stride):
        y = norm(conv(x, f"{name}.conv1", stride), f"{name}.bn1").relu()
        y = norm(conv(y, f"{name}.conv2"), f"{name}.bn2")
        down = f"{name}.downsample"
        x = norm(conv(x, f"{down}.0", stride), f"{down}.1") if f"{down}.0.weight" in state else x
        return (x + y).relu()

    def attention(x, name):
        x = unit(x, f"{name}.conv")
        return x * norm(conv(x.mean((2, 3), keepdim=True), f"{name}.conv_atten"), f"{name}.bn_atten").sigmoid()

    def twice(x):
        return x.repeat_interleave(2, 2).repeat_interleave(2, 3)

    img = torch.rand(2, 3, 64, 96)
    x = (img - torch.tensor([0.485, 0.456, 0.406])[:, None, None]) / torch.tensor([0.229, 0.224, 0.225])[:, None, None]
    x = F.max_pool2d(norm(conv(x, "cp.resnet.conv1", 2), "cp.resnet.bn1").relu(), 3, 2, 1)
    at = {}
    for level, stride in ((1, 1), (2, 2), (3, 2), (4, 2)):
        x = block(block(x, f"cp.resnet.layer{level}.0", stride), f"cp.resnet.layer{level}.1", 1)
        at[level] = x
    whole = unit(at[4].mean((2, 3), keepdim=True), "cp.conv_avg")
    context16 = unit(twice(attention(at[4], "cp.arm32") + whole), "cp.conv_head32")
    context8 = unit(twice(attention(at[3], "cp.arm16") + context16), "cp.conv_head16")
    fused = unit(torch.cat([at[2], context8], 1), "ffm.convblk")
    weight = conv(conv(fused.mean((2, 3), keepdim=True), "ffm.conv1").relu(), "ffm.conv2").sigmoid()
    out = conv(unit(fused + fused * weight, "conv_out.conv"), "conv_out.conv_out")
    wanted = F.interpolate(out, (64, 96), mode="bilinear", align_corners=True)
    torch.testing.assert_close(net(img), wanted, rtol=1e-5, atol=1e-5)


def test_published_weights_open_with_and_without_the_wrappers_prefix(tmp_path):
    torch.manual_seed(1)
    net = BiSeNet()
    for name, prefix in (("79999_iter.pth", ""), ("wrapped.pth", "module.")):
        torch.save({prefix + key: tensor for key, tensor in net.state_dict().items()}, tmp_path / name)
        opened, facts = open_network(tmp_path / name)
        assert facts["image_size"] == 512
        assert facts["width"] == 64
        assert not opened.training
        assert all(torch.equal(net.state_dict()[key], tensor) for key, tensor in opened.state_dict().items())


def test_what_is_no_parser_is_refused(tmp_path):
    torch.save({"conv.weight": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(InputError, match=r"other.pth holds no BiSeNet of faces.*give 79999_iter.pth or a run"):
        open_parser(tmp_path / "other.pth")
    torch.save(BiSeNet(11, width=4).state_dict(), tmp_path / "eleven.pth")
    with pytest.raises(InputError, match=r"eleven.pth knows 11 classes, and masks here have 19"):
        open_parser(tmp_path / "eleven.pth")
    state = BiSeNet(width=4).state_dict()
    del state["ffm.conv1.weight"]
    torch.save(state, tmp_path / "part.pth")
    with pytest.raises(InputError, match=r"part.pth does not fit this network.*ffm.conv1.weight"):
        open_parser(tmp_path / "part.pth")
    with pytest.raises(InputError, match="nowhere.pth does not exist"):
        open_parser(tmp_path / "nowhere.pth")
    with pytest.raises(InputError, match=r"nowhere.onnx does not exist; launch/parsing.py export makes one"):
        open_parser(tmp_path / "nowhere.onnx")
