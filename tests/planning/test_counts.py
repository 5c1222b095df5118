"""Counted sizes against figures that were counted another way, and the arithmetic of the head against the formulas."""

import pytest

from recognition.head.partial_fc import KEPT_BYTES
from recognition.planning.advice import plan
from recognition.planning.backbone_trace import trace_backbone
from recognition.planning.machines import find_machine
from recognition.planning.memory import keeps
from recognition.planning.setting import Setting
from recognition.planning.speed import speed_of

# Million parameters, GMACs, million elements that innermost modules put out; per image of 112 x 112.
NETWORKS = {"r50": (43.591, 6.3093, 18.06), "mbf": (2.060, 0.4375, 11.27)}


@pytest.mark.parametrize("network", NETWORKS)
def test_networks(network):
    parameters, gmacs, elements = NETWORKS[network]
    trace = trace_backbone(network, batch=4, precision="bf16", gpu=True)
    assert trace.parameters / 1e6 == pytest.approx(parameters, abs=6e-4)
    assert trace.forward_flop / 2e9 == pytest.approx(gmacs, abs=6e-5)
    assert trace.step_flop == pytest.approx(3 * trace.forward_flop)
    assert trace.leaf_elements / 1e6 == pytest.approx(elements, abs=6e-3)


def test_attention_is_counted():
    """vit_tiny: 2 blocks of width D = 32 on L = 144 patches, 12 L D^2 in linear layers and 2 L^2 D in attention."""
    D, L = 32, 144
    macs = 2 * (12 * L * D * D + 2 * L * L * D) + L * 9 * 9 * 3 * D + L * D * D + D * 512
    assert trace_backbone("vit_tiny", batch=2).forward_flop == 2 * macs


def test_recomputing_costs_a_forward_pass_but_for_stem_and_last_layers():
    plain = trace_backbone("r18", batch=4)
    recomputed = trace_backbone("r18", batch=4, gradient_checkpointing=True)
    assert 3.5 < recomputed.step_flop / plain.forward_flop < 4
    assert recomputed.activations_bytes < plain.activations_bytes / 2


def test_kept_weights_are_two_bytes_a_logit():
    machine = find_machine("h200")
    sizes = {}
    for mode in ("keep", "recompute"):
        setting = Setting(identities=1_000_000, network="r_tiny", ranks=8, batch=128, mode=mode)
        sizes[mode] = plan(setting, machine, link="nvlink").memory.parts
    assert sizes["keep"]["weights kept for the second sweep"] == 2 * 1024 * 125_000
    assert "weights kept for the second sweep" not in sizes["recompute"]


def test_head_flop_and_bytes_on_the_wire():
    """6 G S D, 8 when recomputed; (W - 1) / W of what is gathered, twice that of what is reduced everywhere."""
    machine = find_machine("h200")
    setting = Setting(identities=1_000_000, network="r_tiny", ranks=8, batch=128, mode="keep")
    planned = plan(setting, machine, link="nvlink")
    speed = speed_of(setting, planned.trace, machine, link="nvlink")
    assert speed.head_flop == 6 * 1024 * 125_000 * 512
    again = Setting(identities=1_000_000, network="r_tiny", ranks=8, batch=128, mode="recompute")
    assert speed_of(again, planned.trace, machine, link="nvlink").head_flop == 8 * 1024 * 125_000 * 512
    assert speed.transfers["gather embeddings"].bytes == pytest.approx(7 / 8 * 1024 * 512 * 4, rel=0.01)
    assert speed.transfers["reduce-scatter gradients and sums"].bytes == pytest.approx(
        7 / 8 * 1024 * 1024 * 4, rel=0.01
    )
    gradients = planned.trace.gradients_bytes
    assert speed.transfers["all-reduce of the backbone (DDP)"].bytes == 2 * 7 / 8 * gradients


def test_table_of_centres():
    """Momentum beside each centre, one spare class, 4 bytes a class for its last step; ranks share the classes."""
    machine = find_machine("h200")
    keys = {"identities": 1001, "network": "r_tiny", "ranks": 2, "batch": 4}
    sampled = plan(Setting(**keys, sample_rate=0.5), machine, link="nvlink").memory.parts
    assert sampled["centres and their optimizer state"] == (501 + 1) * 2 * 512 * 4
    assert sampled["step of each class's last touch"] == (501 + 1) * 4
    assert sampled["rows of the step"] == (250 + 8) * 2 * 512 * 4
    adamw = plan(Setting(**keys, optimizer="adamw", subcenters=3), machine, link="nvlink").memory.parts
    assert adamw["centres and their optimizer state"] == (501 + 1) * 3 * 3 * 512 * 4
    assert "rows of the step" not in adamw


@pytest.mark.parametrize(("keys", "slots"), [({}, 1), ({"momentum": 0.0}, 0), ({"optimizer": "adamw"}, 2)])
def test_optimizer_state(keys, slots):
    planned = plan(Setting(identities=1001, network="r_tiny", batch=4, **keys), find_machine("h200"), link="nvlink")
    assert planned.memory.parts.get("optimizer state", 0) == slots * planned.trace.gradients_bytes


def test_automatic_mode_is_that_of_the_head():
    machine = find_machine("h200")
    classes = KEPT_BYTES["cuda"] // 2 // 128
    assert keeps(Setting(identities=classes, batch=128), machine)
    assert not keeps(Setting(identities=classes + 1, batch=128), machine)
