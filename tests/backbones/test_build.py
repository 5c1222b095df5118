"""Names, arguments and initial values."""

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from recognition.backbones import backbone_names, build_backbone, tiny_twin
from recognition.errors import InputError

TINY = ["r_tiny", "mbf_tiny", "vit_tiny"]
ARCFACE_TORCH = [
    *["r18", "r34", "r50", "r100", "r200", "r2060", "mbf", "mbf_large"],
    *["vit_t", "vit_t_dp005_mask0", "vit_s", "vit_s_dp005_mask_0", "vit_b", "vit_b_dp005_mask_005"],
    *["vit_l_dp005_mask_005", "vit_h"],
]


def test_names_are_those_of_arcface_torch_and_the_tiny_twins():
    assert backbone_names() == ARCFACE_TORCH + TINY
    assert [tiny_twin(name) for name in ("r2060", "mbf_large", "vit_h", "mbf_tiny")] == [
        *["r_tiny", "mbf_tiny", "vit_tiny", "mbf_tiny"]
    ]


@pytest.mark.parametrize(
    ("wrong", "right"), [("r5O", "r50"), ("mbf_larg", "mbf_large"), ("vit_t_dp005_mask_0", "vit_t_dp005_mask0")]
)
def test_unknown_name_leads_to_the_nearest(wrong, right):
    for ask in (build_backbone, tiny_twin):
        with pytest.raises(InputError, match=f"{wrong!r} is not known; did you mean {right!r}"):
            ask(wrong)


def test_arguments_out_of_range_are_refused():
    for name, arguments, message in [
        ("r18", {"image_size": 100}, "multiple of 16"),
        ("vit_t", {"image_size": 8}, "one patch"),
        ("mbf", {"dropout": 1.0}, r"\[0, 1\)"),
        ("mbf", {"embedding_size": 0}, "at least 1"),
    ]:
        with pytest.raises(InputError, match=message):
            build_backbone(name, **arguments)


@pytest.mark.parametrize("name", TINY)
def test_every_size_embeds_and_every_trainable_parameter_gets_a_gradient(name):
    network = build_backbone(name, embedding_size=24, dropout=0.2, image_size=64)
    emb_BD = network(torch.randn(4, 3, 64, 64))
    assert emb_BD.shape == (4, 24)
    assert emb_BD.dtype == torch.float32
    emb_BD.square().sum().backward()
    assert [key for key, p in network.named_parameters() if p.requires_grad and p.grad is None] == []


@pytest.mark.parametrize("name", TINY)
def test_a_tiny_twin_takes_few_operations(name):
    # Forward and backward; the smallest networks that people train take 6.6 to 15.6 GFLOP.
    network = build_backbone(name)
    with FlopCounterMode(display=False) as counter:
        network(torch.randn(2, 3, 112, 112)).sum().backward()
    assert 0 < counter.get_total_flops() / 2 < 0.5e9


@pytest.mark.parametrize("name", TINY)
def test_dropout_acts_in_training_only(name):
    torch.manual_seed(0)
    network = build_backbone(name, dropout=0.5)
    x_BCHW = torch.randn(4, 3, 112, 112)
    for module in network.modules():
        if hasattr(module, "rate"):
            module.rate = 0.0
    network.mask_ratio = 0.0
    assert not torch.equal(network(x_BCHW), network(x_BCHW))
    network.eval()
    assert torch.equal(network(x_BCHW), network(x_BCHW))
    assert [module.p for module in network.modules() if isinstance(module, nn.Dropout)] == [0.5]


def test_initial_values_are_those_of_arcface_torch():
    torch.manual_seed(0)
    iresnet, mobile, vit = (build_backbone(name) for name in ("r18", "mbf", "vit_t"))
    assert iresnet.layer4[1].conv1.weight.std().item() == pytest.approx(0.1, rel=0.01)
    assert torch.equal(iresnet.features.weight, torch.ones(512))
    assert iresnet.layer1[0].prelu.weight.unique().tolist() == [0.25]
    # Kaiming, fan out: sqrt(2 / (out channels * kernel area)).
    assert mobile.layers[0].layers[0].weight.std().item() == pytest.approx((2 / (128 * 9)) ** 0.5, rel=0.05)
    assert mobile.features.layers[2].weight.std().item() == pytest.approx((2 / 512) ** 0.5, rel=0.01)
    for weight in (vit.pos_embed, vit.blocks[3].mlp.fc1.weight, vit.feature[0].weight, vit.feature[2].weight):
        assert weight.std().item() == pytest.approx(0.02, rel=0.02)
    assert vit.mask_token.std().item() == pytest.approx(0.02, rel=0.15)
    assert vit.blocks[0].attn.proj.bias.abs().max() == 0
    assert {bn.eps for bn in vit.feature if isinstance(bn, nn.BatchNorm1d)} == {2e-5}
