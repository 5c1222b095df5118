"""ImageControlNet: what it takes and gives, what of it is trained, and that control begins as nothing."""

import logging

import pytest
import torch

from generation import ImageControlNet
from generation.posecontrol.blocks import moved
from recognition.errors import InputError
from tests.generation.posecontrol.small_model import pictures, poses, recogniser, small

GENERATORS = pytest.mark.parametrize("generator", ["spatial", "vector"])


@GENERATORS
@pytest.mark.parametrize("side", [64, 112, 128])
def test_shapes(generator, side):
    model = small(image_size=side, recogniser=recogniser(112), generator=generator).eval()
    made = model(pictures(2, side), poses(2))
    assert made.image_BCHW.shape == (2, 3, side, side)
    assert made.image_BCHW.abs().max() <= 1
    assert made.source_pose_BP.shape == (2, 3)


@GENERATORS
def test_control_begins_as_nothing_and_then_counts(generator):
    model = small(generator=generator).eval()
    source = pictures()
    first, second = (model(source, poses(seed=seed)).image_BCHW for seed in (2, 3))
    assert torch.equal(first, second)
    assert torch.equal(first, model.reconstruct(source).image_BCHW)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(2):
        optimizer.zero_grad()
        (model(source, poses()).image_BCHW - pictures(seed=9)).square().mean().backward()
        optimizer.step()
    first, second = (model(source, poses(seed=seed)).image_BCHW for seed in (2, 3))
    assert (first - second).abs().max() > 1e-6


@GENERATORS
def test_control_sees_the_picture_too(generator):
    """The first version of this model forgot it."""
    model = small(generator=generator).eval()
    encoded, features, pose = model._seen(pictures())
    features = features.detach().requires_grad_()
    for layer in model.control.leave:
        torch.nn.init.normal_(layer.weight)
    control = model.control(encoded, features, torch.cat([pose, pose], 1).detach())
    sum(added.sum() for added in control.added).backward()
    assert features.grad.abs().max() > 0


def test_a_frozen_encoder_stays_bit_for_bit_and_out_of_the_state():
    backbone = recogniser()
    before = {name: tensor.clone() for name, tensor in backbone.network.state_dict().items()}
    model = small(recogniser=backbone).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(3):
        model(pictures(4), poses(4)).image_BCHW.square().mean().backward()
        optimizer.step()
    assert all(torch.equal(before[name], tensor) for name, tensor in backbone.network.state_dict().items())
    assert not any(name.startswith("encoder") for name in model.state_dict())


def test_an_encoder_that_is_not_frozen_is_trained_along():
    model = small(freeze_backbone=False).train()
    before = {name: parameter.detach().clone() for name, parameter in model.encoder.network.named_parameters()}
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    made = model(pictures(4), poses(4))
    (made.image_BCHW.square().mean() + made.source_pose_BP.square().mean()).backward()
    optimizer.step()
    changed = [name for name, p in model.encoder.network.named_parameters() if not torch.equal(before[name], p)]
    assert any(name.startswith("layer1") for name in changed)
    assert any(name.startswith("encoder.network.layer4") for name in model.state_dict())


@pytest.mark.parametrize("freeze", [True, False])
def test_gradients_reach_the_picture(freeze):
    """For a loss on what comes before; a frozen encoder must not cut it."""
    model = small(freeze_backbone=freeze, generator="vector").eval()
    source = pictures().requires_grad_()
    model(source, poses()).image_BCHW.square().mean().backward()
    assert source.grad.abs().max() > 0


def test_a_frozen_encoder_keeps_no_graph_for_itself():
    model = small()
    assert not model.encoder(pictures()).pooled_BC.requires_grad
    assert model.encoder(pictures().requires_grad_()).pooled_BC.requires_grad


@pytest.mark.parametrize("use_insightface", [True, False])
def test_without_a_recogniser_a_small_network_is_trained(use_insightface, caplog):
    with caplog.at_level(logging.WARNING, logger="arcscale"):
        model = ImageControlNet(
            feature_dim=512, pose_dim=3, image_size=112, use_insightface=use_insightface, freeze_backbone=True
        )
    assert len(caplog.records) == (1 if use_insightface else 0)
    assert model.encoder.facts.get("instead_of") == ("recogniser" if use_insightface else None)
    assert model.encoder.facts["encoder"] == "cnn"
    # The sizes that the first version had: 3 -> 64 -> 128 -> 256 -> 512, and 512 -> feature_dim.
    assert [layer.out_channels for layer in model.encoder.encoder] == [64, 128, 256, 512]
    assert model.feature_proj[0].weight.shape == (512, 512)
    assert model.eval()(pictures(1, 112), poses(1)).image_BCHW.shape == (1, 3, 112, 112)


def test_no_substitute_where_none_is_wanted():
    with pytest.raises(InputError, match="no recogniser was named"):
        ImageControlNet(strict_encoder=True)


def test_one_picture_can_be_trained_on_with_layer_norm_alone():
    with pytest.raises(ValueError, match="more than 1 value"):
        small(proj_norm="batch").train()(pictures(1), poses(1))
    assert small(proj_norm="layer").train()(pictures(1), poses(1)).image_BCHW.shape == (1, 3, 32, 32)


def test_freeze_generator():
    model = small(freeze_generator=True)
    assert not any(parameter.requires_grad for parameter in model.generator.parameters())
    assert all(parameter.requires_grad for parameter in model.control.parameters())


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"pose_dim": 4}, "pose_dim=4"),
        ({"image_size": 40}, "multiple of 16"),
        ({"num_control_layers": 0}, "num_control_layers=0"),
        ({"num_control_layers": 5}, "1 to 4"),
        ({"num_control_layers": 7, "generator": "vector"}, "1 to 6"),
        ({"encoder": "resnet"}, "'resnet' is not known"),
        ({"generator": "other"}, "use spatial or vector"),
        ({"proj_norm": "none"}, "use batch or layer"),
        ({"feature_dim": 1}, "feature_dim=1"),
    ],
)
def test_what_cannot_be_is_said(wrong, said):
    with pytest.raises(InputError, match=said):
        small(**wrong)


def test_pictures_of_another_size_are_refused():
    with pytest.raises(InputError, match=r"takes \(B, 3, 32, 32\)"):
        small()(pictures(1, 64), poses(1))


@pytest.mark.parametrize("num_control_layers", [1, 4])
def test_control_acts_on_as_many_stages(num_control_layers):
    model = small(num_control_layers=num_control_layers)
    encoded, features, pose = model._seen(pictures())
    control = model.control(encoded, features, torch.cat([pose, pose], 1))
    assert [flow.shape[-1] for flow in control.flows] == [2, 4, 8, 16][:num_control_layers]


@pytest.mark.parametrize(("right", "down"), [(3, 0), (0, 2), (-1, 4)])
def test_a_flow_says_where_a_pixel_comes_from(right, down):
    side = 16
    x = torch.rand(1, 2, side, side)
    flow = torch.tensor([right, down], dtype=torch.float32).view(1, 2, 1, 1).expand(1, 2, side, side) * 2 / side
    ys, xs = (torch.arange(side) + down).clamp(0, side - 1), (torch.arange(side) + right).clamp(0, side - 1)
    assert torch.allclose(moved(x, flow), x[:, :, ys][:, :, :, xs], atol=1e-5)
