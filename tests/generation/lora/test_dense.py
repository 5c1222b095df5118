"""The gradient of an adapter against that of the dense weights it stands for: W + alpha / rank * B A, without peft."""

import dataclasses
import re

import pytest
import torch
from torch.func import functional_call

from generation.lora.adapter import adapter_parameters
from generation.lora.models import open_models
from tests.generation.lora.small_lora import small
from tests.generation.lora.test_step import Ready

UNROLLED, WEIGHT, MAX_T = 2, 0.5, 0.9
NAME = re.compile(r"(.+)\.lora_([AB])\.default\.weight")
EASY = ("gradient_checkpointing=True", "vae_checkpointing=True")


def dense_loss(made, leaves):
    """Flow loss and identity loss of a step's batch with the adapter's product in the weights of a bare transformer."""
    cfg = made.cfg
    bare = open_models(cfg, torch.device("cpu")).transformer
    assert not adapter_parameters(bare)
    weights = {name: parameter.detach() for name, parameter in bare.named_parameters()}
    pairs = {}
    for name, leaf in leaves.items():
        layer, which = NAME.fullmatch(name).groups()
        pairs.setdefault(layer, {})[which] = leaf
    for layer, pair in pairs.items():
        weights[f"{layer}.weight"] = weights[f"{layer}.weight"] + cfg.alpha / cfg.rank * pair["B"] @ pair["A"]

    class Dense(torch.nn.Module):
        config = bare.config

        def forward(self, **inputs):
            return functional_call(bare, weights, kwargs=inputs)

    batch = made.batches.micro_step(0, 0)
    t = batch.t_B[:, None, None, None]

    def predict(x, t_B):
        return made.models.family.velocity(Dense(), x, t_B, batch.prompts, guidance=cfg.guidance_scale)

    x = (1 - t) * batch.x0_BCHW + t * batch.noise_BCHW
    pred = predict(x, batch.t_B)
    flow = ((pred - (batch.noise_BCHW - batch.x0_BCHW)) ** 2).mean()
    x = x - t / UNROLLED * pred
    x = x - t / UNROLLED * predict(x, batch.t_B / UNROLLED)
    weight_B = torch.where(batch.t_B <= MAX_T, (1 - batch.t_B) ** 2, 0.0)
    _, details = made.face_loss(
        batch.ref_img01_BCHW, x, batch.data_type, batch.ref_keys, True, gen_keys=batch.picture_keys, weight_B=weight_B
    )
    assert details.valid_B.sum() == batch.num_asked
    # One picture at a time: no mean of the loss itself is relied upon.
    faces = []
    for place in details.valid_B.nonzero().flatten().tolist():
        own = slice(place, place + 1)
        keys = {"ref_keys": batch.ref_keys[own], "gen_keys": batch.picture_keys[own]}
        faces.append(weight_B[place] * made.face_loss(batch.ref_img01_BCHW[own], x[own], **keys))
    return flow + WEIGHT * sum(faces) / len(faces)


@pytest.mark.parametrize("family", ["flux", "sd3"])
def test_the_gradient_is_that_of_the_dense_weights(home, family):
    options = ("batch_size=4", "max_grad_norm=0", f"unrolled_steps={UNROLLED}", "face_weight_over_t=2", *EASY)
    cfg = small(home / "run", f"transformer=tiny-{family}", f"face_max_t={MAX_T}", *options, faces=True)
    made = Ready(dataclasses.replace(cfg, alpha=6.0), smooth=True)
    assert made.cfg.alpha != made.cfg.rank
    leaves = {name: p.detach().clone().requires_grad_() for name, p in made.step.parameters.items()}
    expected = torch.cat([grad.flatten() for grad in torch.autograd.grad(dense_loss(made, leaves), leaves.values())])
    found, output = made.gradient()
    assert output.faces > 1
    assert (found - expected).norm() < 1e-4 * expected.norm()
