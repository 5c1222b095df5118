"""Latents against what diffusers' own pipelines do with them."""

import pytest
import torch

from generation.identity.latents import (
    clamped,
    decode,
    encode,
    model_latents,
    pack_latents,
    raw_latents,
    recompute_blocks,
    side_of,
    unpack_latents,
)
from recognition.errors import InputError
from tests.generation.identity.small_vae import latents_of, small_vae
from tests.planning.measured import measure


@pytest.mark.parametrize("shift", [0.1159, None])
def test_decoding_is_the_formula_of_the_pipelines(shift):
    vae = small_vae(shift=shift)
    latents = latents_of(vae)
    with torch.no_grad():
        expected = vae.decode(latents / vae.config.scaling_factor + (shift or 0)).sample / 2 + 0.5
        assert torch.equal(decode(vae, latents), expected)
        raw = vae.encode(expected.clamp(0, 1) * 2 - 1).latent_dist.mode()
        assert torch.equal(encode(vae, expected.clamp(0, 1)), (raw - (shift or 0)) * vae.config.scaling_factor)


def test_means_and_deviations_of_channels_count_where_the_config_has_them():
    mean, std = (0.1, -0.2, 0.3, 0.0), (1.0, 2.0, 0.5, 4.0)
    vae = small_vae(latents_mean=mean, latents_std=std)
    latents = latents_of(vae)
    as_column = [torch.tensor(values).view(1, 4, 1, 1) for values in (mean, std)]
    expected = latents * as_column[1] / vae.config.scaling_factor + as_column[0]
    assert torch.allclose(raw_latents(vae, latents), expected, rtol=1e-6)
    assert torch.allclose(model_latents(vae, expected), latents, rtol=1e-5, atol=1e-6)


def test_pixels_beyond_the_range_keep_their_gradient():
    vae = small_vae()
    latents = (6 * latents_of(vae)).requires_grad_()
    picture = decode(vae, latents)
    beyond = (picture < 0) | (picture > 1)
    assert beyond.float().mean() > 0.05
    shown = clamped(picture)
    assert torch.equal(shown, picture.detach().clamp(0, 1))
    (grad,) = torch.autograd.grad(shown[beyond].sum(), latents, retain_graph=True)
    (expected,) = torch.autograd.grad(picture[beyond].sum(), latents)
    assert grad.abs().max() > 0
    assert torch.equal(grad, expected)


def test_a_half_vae_decodes_to_float32_and_passes_the_gradient():
    vae = small_vae().to(torch.bfloat16)
    latents = latents_of(vae).requires_grad_()
    picture = decode(vae, latents)
    picture.sum().backward()
    assert picture.dtype == latents.grad.dtype == torch.float32
    assert latents.grad.abs().max() > 0


@pytest.mark.parametrize(("height", "width"), [(8, 8), (6, 10)])
def test_packing_is_that_of_the_flux_pipeline(height, width):
    diffusers = pytest.importorskip("diffusers", reason="needs diffusers: pip install -e '.[generation]'")
    pipeline = diffusers.FluxPipeline
    latents = torch.randn(2, 4, height, width)
    packed = pack_latents(latents)
    assert torch.equal(packed, pipeline._pack_latents(latents, 2, 4, height, width))
    assert torch.equal(unpack_latents(packed, height, width), latents)
    assert torch.equal(unpack_latents(packed, height, width), pipeline._unpack_latents(packed, height, width, 1))


def test_packing_refuses_what_does_not_fit():
    with pytest.raises(InputError, match="latents of 7 x 8 cannot be packed"):
        pack_latents(torch.zeros(1, 4, 7, 8))
    for height, width, tokens in ((8, 6, 16), (7, 8, 16), (8, 8, 12)):
        with pytest.raises(InputError, match=f"{tokens} tokens of 16 numbers are no latents of {height} x {width}"):
            unpack_latents(torch.zeros(1, tokens, 16), height, width)


def test_sides_of_a_diptych():
    x = torch.arange(8.0).view(1, 1, 2, 4)
    assert side_of(x, "left").tolist() == [[[[0, 1], [4, 5]]]]
    assert side_of(x, "right").tolist() == [[[[2, 3], [6, 7]]]]
    assert side_of(x, None) is x
    with pytest.raises(InputError, match="'top' is not known"):
        side_of(x, "top")
    with pytest.raises(InputError, match="diptych of 3 columns"):
        side_of(x[..., :3], "left")


def test_recomputed_blocks_give_the_same_gradient_in_less_memory():
    def run(vae):
        latents = latents_of(vae, count=1, side=24).requires_grad_()
        decode(vae, latents).square().sum().backward()
        return latents.grad

    plain, recomputed = small_vae().requires_grad_(False), small_vae().requires_grad_(False)
    recompute_blocks(recomputed)
    memory, grad = measure(lambda: run(plain))
    less_memory, grad_again = measure(lambda: run(recomputed))
    assert torch.equal(grad, grad_again)
    assert less_memory.peak_bytes < 0.8 * memory.peak_bytes


def test_a_vae_that_cannot_recompute_is_named():
    with pytest.raises(InputError, match="Linear has no gradient checkpointing"):
        recompute_blocks(torch.nn.Linear(2, 2))
