"""Planned bytes against those that torch's allocator handed out, by part and at the peak."""

import pytest
import torch

from recognition.backbones import build_backbone
from recognition.planning.advice import plan
from recognition.planning.backbone_trace import trace_backbone
from recognition.planning.machines import find_machine
from recognition.planning.setting import Setting
from tests.planning.measured import measure
from tests.planning.whole_step import embed, take_steps, uint8_batch
from tests.ranks import run_ranks

# What kernels take and return within one operation is in no plan: up to 7 % of a small network's step here.
KERNELS = 0.1


# Pictures of 48 pixels make weights matter more than they do at 112; r18 would be weights and little else.
PLAIN = [("r_tiny", 8, 48), ("mbf_tiny", 16, 48), ("mbf", 16, 48), ("r18", 4, 112), ("vit_tiny", 16, 48)]
RECOMPUTED = [("r_tiny", 8, 48), ("mbf_tiny", 16, 48), ("vit_tiny", 16, 48)]


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize(
    ("network", "batch", "side", "checkpointing"),
    [*((*case, False) for case in PLAIN), *((*case, True) for case in RECOMPUTED)],
)
def test_backbone(network, batch, side, checkpointing, precision):
    keys = {"gradient_checkpointing": checkpointing, "image_size": side}
    trace = trace_backbone(network, batch=batch, precision=precision, **keys)
    backbone = build_backbone(network, **keys).to(memory_format=torch.channels_last).train()
    assert trace.weights_bytes == sum(tensor.nbytes for tensor in backbone.state_dict().values())

    images = uint8_batch(batch, side)
    forward, emb_BD = measure(lambda: embed(backbone, *images, precision))
    backward, _ = measure(lambda: emb_BD.backward(torch.ones_like(emb_BD)))

    assert trace.input_bytes == sum(tensor.nbytes for tensor in images)
    # Each recomputed segment keeps the state of the random numbers, too.
    states = 8 * torch.get_rng_state().nbytes if checkpointing else 0
    assert trace.activations_bytes == pytest.approx(forward.held_bytes, rel=0.001, abs=states)
    planned = [trace.forward_peak_bytes - trace.input_bytes, trace.backward_peak_bytes - trace.input_bytes]
    peaks = [forward.peak_bytes, forward.held_bytes + backward.peak_bytes]
    if precision == "bf16" and not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        # This processor has no bfloat16 kernels: torch unfolds pictures and multiplies, which takes memory of its own.
        assert all(plan <= peak * (1 + KERNELS) for plan, peak in zip(planned, peaks))
    else:
        assert planned == pytest.approx(peaks, rel=KERNELS)
    assert trace.gradients_bytes == sum(p.grad.nbytes for p in backbone.parameters() if p.requires_grad)


SMALL = {"network": "r_tiny", "image_size": 32}
SLIM = {"network": "r_tiny", "image_size": 16, "embedding_size": 64, "batch": 512}


@pytest.mark.parametrize(
    "keys",
    [
        {"identities": 20_000, "batch": 16, **SMALL, "mode": "recompute"},
        {"identities": 20_000, "batch": 16, **SMALL, "optimizer": "adamw", "sample_rate": 0.3, "mode": "keep"},
        {"identities": 10_000, **SLIM, "mode": "keep"},
        {"identities": 10_000, **SLIM, "mode": "recompute"},
        {"identities": 10_000, **SLIM, "mode": "keep", "operands": "bf16"},
        {"identities": 10_000, **SLIM, "mode": "recompute", "operands": "bf16", "momentum": 0.0},
        {"identities": 10_000, **SLIM, "mode": "keep", "sample_rate": 0.2},
        {"identities": 10_000, **SLIM, "mode": "keep", "sample_rate": 0.2, "gradient_acc": 3},
        {"identities": 2_000, "batch": 4, "network": "mbf", "image_size": 16, "mode": "recompute"},
        {"identities": 2_000, "batch": 64, "network": "mbf_tiny", "image_size": 48, "precision": "bf16"},
    ],
    ids=lambda keys: "-".join(str(value) for value in keys.values()),
)
def test_whole_step(keys):
    setting = Setting(**keys)
    planned = plan(setting, find_machine("cpu"), link="shared").memory

    measured, _ = measure(lambda: take_steps(setting))

    # 4 % is less than the smallest part of the head that matters here, the weights kept at rate 0.2. Where the peak is
    # the backbone's, its kernels decide.
    tolerance = KERNELS if planned.moment == "backward pass" else 0.04
    assert planned.tensor_bytes == pytest.approx(measured.peak_bytes, rel=tolerance)


def test_two_ranks_hold_half_the_classes_and_gradients_in_buckets():
    setting = Setting(identities=2_000, batch=4, ranks=2, mode="keep", network="mbf", image_size=16)
    planned = plan(setting, find_machine("cpu", ranks=2), link="shared").memory

    def rank(runtime):
        torch.set_num_threads(1)
        # The first step makes the momentum, and DDP takes its buckets apart once.
        measured, _ = measure(lambda: take_steps(setting, runtime, steps=3))
        return measured.peak_bytes

    for peak_bytes in run_ranks(rank, 2):
        assert planned.tensor_bytes == pytest.approx(peak_bytes, rel=KERNELS), (planned, peak_bytes / 1e6)
