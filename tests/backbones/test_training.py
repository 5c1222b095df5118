"""Behaviour that only training shows: precision, recomputation, masking, stochastic depth."""

import copy

import pytest
import torch
from torch import nn

from recognition.backbones import build_backbone
from recognition.backbones.recompute import run_checkpointed
from recognition.backbones.vit import DropPath, Mlp, choose_patches, restore_patches

TINY = ["r_tiny", "mbf_tiny", "vit_tiny"]
# The last batch norm makes every sum and square of the output nearly constant: its gradient would be rounding.
DIRECTION_BD = torch.randn(4, 512, generator=torch.Generator().manual_seed(7))


def images(batch=4, seed=0):
    return torch.randn(batch, 3, 112, 112, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", TINY)
def test_body_follows_autocast_and_last_layers_stay_in_float32(name):
    network = build_backbone(name)
    seen = {}
    for key, module in network.named_modules():
        if isinstance(module, (nn.Conv2d, nn.Linear, nn.BatchNorm1d)):
            module.register_forward_hook(lambda _m, _i, out, key=key: seen.__setitem__(key, out.dtype))
    with torch.autocast("cpu", torch.bfloat16):
        emb_BD = network(images())
    assert emb_BD.dtype == torch.float32
    last = ("fc", "features", "conv_sep", "feature.")
    float32 = {key for key, dtype in seen.items() if dtype == torch.float32}
    assert float32 == {key for key in seen if key.startswith(last)}
    assert set(seen.values()) == {torch.float32, torch.bfloat16}
    emb_BD.sum().backward()
    assert all(p.grad.dtype == torch.float32 for p in network.parameters() if p.requires_grad)


def test_attention_is_computed_in_float32_under_autocast(monkeypatch):
    network, dtypes = build_backbone("vit_tiny"), []
    attend = torch.nn.functional.scaled_dot_product_attention
    monkeypatch.setattr(
        torch.nn.functional,
        "scaled_dot_product_attention",
        lambda q, k, v: (out := attend(q, k, v), dtypes.extend([q.dtype, k.dtype, v.dtype, out.dtype]))[0],
    )
    with torch.autocast("cpu", torch.bfloat16):
        network(images())
    assert set(dtypes) == {torch.float32}


@pytest.mark.parametrize("name", TINY)
def test_channels_last_gives_the_same_gradients(name):
    plain = build_backbone(name)
    nhwc = copy.deepcopy(plain).to(memory_format=torch.channels_last)
    outs = []
    for network, memory_format in ((plain, torch.contiguous_format), (nhwc, torch.channels_last)):
        torch.manual_seed(1)
        outs.append(network(images().to(memory_format=memory_format)))
        outs[-1].mul(DIRECTION_BD).sum().backward()
    torch.testing.assert_close(outs[1], outs[0], rtol=1e-4, atol=1e-4)
    ours, wanted = (
        torch.cat([p.grad.flatten() for p in network.parameters() if p.requires_grad]) for network in (nhwc, plain)
    )
    # Rounding moves a few activations over the kink of PReLU; a wrong element order would move everything.
    assert (ours - wanted).norm() < 1e-3 * wanted.norm()


@pytest.mark.parametrize("name", TINY)
def test_checkpointing_changes_neither_outputs_gradients_nor_statistics(name):
    torch.manual_seed(0)
    plain = build_backbone(name, dropout=0.3)
    recomputed = build_backbone(name, dropout=0.3, gradient_checkpointing=True)
    recomputed.load_state_dict(plain.state_dict())
    before = copy.deepcopy(plain.state_dict())
    outs = []
    for network in (plain, recomputed):
        torch.manual_seed(1)
        outs.append(network(images()))
        outs[-1].mul(DIRECTION_BD).sum().backward()
    assert torch.equal(outs[0], outs[1])
    assert_same_gradients(recomputed, plain, 1e-6)
    changed = 0
    for key, value in plain.state_dict().items():
        assert torch.equal(value, recomputed.state_dict()[key]), key
        changed += not torch.equal(value, before[key])
    assert changed >= 2
    assert list(recomputed.state_dict()) == list(before)
    assert all(m.momentum == 0.1 for m in recomputed.modules() if isinstance(m, nn.BatchNorm2d))


@pytest.mark.parametrize("segments", [1, 2, 3, 5, 9])
def test_segments_cover_every_block_once_and_store_only_their_inputs(segments):
    torch.manual_seed(0)
    blocks = nn.Sequential(*[nn.Sequential(nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4), nn.ReLU()) for _ in range(5)])
    twin, x = copy.deepcopy(blocks), torch.randn(3, 4, 5, 5)
    with torch.autograd.graph.saved_tensors_hooks(lambda t: stored.append(t) or t, lambda t: t):
        stored = []
        out = run_checkpointed(blocks, x, segments)
    assert [t.shape for t in stored] == [x.shape] * min(segments, 5)
    torch.testing.assert_close(out, twin(x), rtol=0, atol=0)
    out.sum().backward(retain_graph=True)
    out.sum().backward()
    assert [int(m.num_batches_tracked) for m in blocks.modules() if isinstance(m, nn.BatchNorm2d)] == [1] * 5
    for key, value in twin.state_dict().items():
        assert torch.equal(value, blocks.state_dict()[key]), key


def test_checkpointing_is_off_in_evaluation():
    network = build_backbone("r_tiny", gradient_checkpointing=True).eval()
    plain = build_backbone("r_tiny").eval()
    plain.load_state_dict(network.state_dict())
    assert torch.equal(network(images()), plain(images()))


def test_checkpointing_under_autocast_recomputes_in_the_same_precision():
    plain = build_backbone("mbf_tiny")
    recomputed = build_backbone("mbf_tiny", gradient_checkpointing=True)
    recomputed.load_state_dict(plain.state_dict())
    for network in (plain, recomputed):
        with torch.autocast("cpu", torch.bfloat16):
            out = network(images())
        out.mul(DIRECTION_BD).sum().backward()
    assert_same_gradients(recomputed, plain, 1e-6)


def test_masked_patches_come_back_as_the_mask_token_at_their_places():
    x_BLD = torch.arange(2 * 10 * 3.0).view(2, 10, 3)
    kept_BK = choose_patches(x_BLD, 0.25)
    assert kept_BK.shape == (2, 7)
    token_11D = torch.full((1, 1, 3), -1.0)
    kept_BKD = x_BLD.gather(1, kept_BK.unsqueeze(-1).expand(-1, -1, 3))
    out_BLD = restore_patches(kept_BKD, kept_BK, token_11D, 10)
    for sample, kept in enumerate(kept_BK.tolist()):
        for place in range(10):
            want = x_BLD[sample, place] if place in kept else token_11D[0, 0]
            assert torch.equal(out_BLD[sample, place], want)
    counts = sum(
        torch.bincount(choose_patches(x_BLD.expand(2, 10, 3), 0.5).flatten(), minlength=10) for _ in range(400)
    )
    assert (counts.float() / 400 - 1).abs().max() < 0.2


def test_a_tenth_of_the_144_patches_is_masked_in_training_only():
    network, lengths = build_backbone("vit_tiny"), []
    network.blocks[0].register_forward_pre_hook(lambda _m, args: lengths.append(args[0].shape[1]))
    network(images())
    network.eval()(images())
    assert lengths == [129, 144]


def test_mlp_rectifies_between_0_and_6():
    mlp = Mlp(2)
    for layer, gain in ((mlp.fc1, 1.0), (mlp.fc2, 0.125)):
        nn.init.constant_(layer.weight, gain)
        nn.init.zeros_(layer.bias)
    x_1LD = torch.tensor([[[-1.0, -1.0], [1.0, 2.0], [5.0, 4.0]]])
    assert mlp(x_1LD)[0, :, 0].tolist() == [0.0, 3.0, 6.0]


def test_drop_path_keeps_the_mean_and_drops_whole_samples():
    torch.manual_seed(0)
    x_BLD = torch.ones(20_000, 2, 3)
    out_BLD = DropPath(0.2)(x_BLD)
    assert out_BLD.flatten(1).unique(dim=0).tolist() == [[0.0] * 6, [1.25] * 6]
    assert out_BLD.mean().item() == pytest.approx(1.0, abs=0.02)
    assert DropPath(0.2).eval()(x_BLD) is x_BLD


def assert_same_gradients(network, reference, relative):
    wanted = dict(reference.named_parameters())
    for key, parameter in network.named_parameters():
        if parameter.requires_grad:
            scale = wanted[key].grad.abs().max() + 1e-7
            assert (parameter.grad - wanted[key].grad).abs().max() <= relative * scale, key
