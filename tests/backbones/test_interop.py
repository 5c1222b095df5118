"""Keys, shapes, order, frozen parameters and outputs against arcface_torch's own networks."""

import json

import pytest
import torch

from recognition.backbones import build_backbone
from tests.conftest import FIXTURES
from tests.filling import filled_tensor, reference_input

HERE = json.loads((FIXTURES / "backbones.json").read_text())
ELSEWHERE = ["r34", "r50", "r100", "r200", "mbf_large", "vit_s", "vit_b", "vit_l_dp005_mask_005"]


@pytest.mark.parametrize("name", HERE)
def test_network_equals_arcface_torch(name):
    assert_equal_to_reference(name, HERE[name])


@pytest.mark.parametrize("name", ELSEWHERE)
def test_large_network_equals_arcface_torch(name, shared_dir):
    assert_equal_to_reference(name, json.loads((shared_dir / "interop" / "backbones.json").read_text())[name])


def assert_equal_to_reference(name, reference):
    with torch.device("meta"):
        network = build_backbone(name)
    shapes = [(key, tuple(tensor.shape)) for key, tensor in network.state_dict().items()]
    assert shapes == [(key, tuple(shape)) for key, shape in reference["keys"]]
    assert len(shapes) == reference["num_keys"]
    assert sum(p.numel() for p in network.parameters()) == reference["num_params"]
    assert [key for key, p in network.named_parameters() if not p.requires_grad] == reference["frozen"]

    network.load_state_dict({key: filled_tensor(key, shape) for key, shape in shapes}, strict=True, assign=True)
    network.eval()
    with torch.no_grad():
        emb_BD = network(reference_input()).double()
        emb_nhwc_BD = None
        if name in HERE:
            network.to(memory_format=torch.channels_last)
            emb_nhwc_BD = network(reference_input().to(memory_format=torch.channels_last)).double()
    for emb in (emb_BD, emb_nhwc_BD):
        if emb is not None:
            norm_B1 = torch.tensor(reference["out_norm"], dtype=torch.float64)[:, None]
            rms_B1 = norm_B1 / emb.shape[1] ** 0.5
            first8_B8 = torch.tensor(reference["out_first8"], dtype=torch.float64)
            assert ((emb[:, :8] - first8_B8).abs() / torch.maximum(first8_B8.abs(), rms_B1)).max() < 1e-4
            assert (emb.norm(dim=1, keepdim=True) / norm_B1 - 1).abs().max() < 1e-4
            assert (
                (emb.sum(1) - torch.tensor(reference["out_sum"], dtype=torch.float64)).abs() < 1e-4 * norm_B1[:, 0]
            ).all()


def test_r2060_has_the_reference_keys_without_its_memory():
    with torch.device("meta"):
        network = build_backbone("r2060")
    assert len(network.state_dict()) == 18583
    assert round(sum(p.numel() for p in network.parameters()) / 1e6, 1) == 1122.3
    assert network.checkpoint_segments == {"layer2": 20, "layer3": 100}


@pytest.mark.parametrize(
    ("name", "dim", "depth", "drop_path", "mask_ratio", "checkpointed"),
    [
        ("vit_t", 256, 12, 0.1, 0.1, False),
        ("vit_t_dp005_mask0", 256, 12, 0.05, 0, False),
        ("vit_s", 512, 12, 0.1, 0.1, False),
        ("vit_s_dp005_mask_0", 512, 12, 0.05, 0, False),
        ("vit_b", 512, 24, 0.1, 0.1, True),
        ("vit_b_dp005_mask_005", 512, 24, 0.05, 0.1, True),
        ("vit_l_dp005_mask_005", 768, 24, 0.05, 0.1, True),
        ("vit_h", 1024, 48, 0.1, 0, True),
    ],
)
def test_vit_variants_train_as_in_arcface_torch(name, dim, depth, drop_path, mask_ratio, checkpointed):
    with torch.device("meta"):
        network = build_backbone(name)
    assert network.pos_embed.shape == (1, 144, dim)
    rates = [block.drop_path.rate for block in network.blocks]
    assert rates == pytest.approx([drop_path * i / (depth - 1) for i in range(depth)])
    assert (network.mask_ratio, network.gradient_checkpointing) == (mask_ratio, checkpointed)
    assert network.mask_token.requires_grad == (mask_ratio > 0)
