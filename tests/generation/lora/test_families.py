"""What families want of latents, times and prompts, against the pipelines of diffusers themselves."""

import pytest
import torch
from torch import Tensor, nn

from generation.identity.flow import unrolled_estimate
from generation.identity.latents import pack_latents, unpack_latents
from generation.lora.families import Prompts, families
from generation.lora.models import tiny_vae

STEPS, GUIDANCE = 3, 2.0


def built(family, seed=0):
    torch.manual_seed(seed)
    transformer = family.tiny().eval()
    with torch.no_grad():  # some layers begin at zero, and would hide what goes into them
        for parameter in transformer.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape))
    return transformer


def inputs(height=8, width=12):
    draw = torch.Generator().manual_seed(1)
    noise = torch.randn(2, 4, height, width, generator=draw)
    return noise, Prompts(torch.randn(2, 5, 32, generator=draw), torch.randn(2, 32, generator=draw))


def ours(family, transformer: nn.Module, noise: Tensor, prompts: Prompts) -> Tensor:
    def predict(x, t_B):
        return family.velocity(transformer, x, t_B, prompts, guidance=GUIDANCE)

    with torch.no_grad():
        return unrolled_estimate(predict, noise, torch.ones(2), steps=STEPS)


def sampled(pipeline, **options) -> Tensor:
    """The pipeline's own sampling over times 1, 2/3, 1/3, without its shift of them."""
    pipeline.set_progress_bar_config(disable=True)
    return pipeline(num_inference_steps=STEPS, output_type="latent", **options).images


def test_flux_samples_as_its_pipeline_does():
    from diffusers import FlowMatchEulerDiscreteScheduler, FluxPipeline

    family = families()["FluxTransformer2DModel"]
    transformer, (noise, prompts) = built(family), inputs()
    nothing = dict.fromkeys(("text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2"))
    pipeline = FluxPipeline(
        transformer=transformer, vae=tiny_vae(), scheduler=FlowMatchEulerDiscreteScheduler(shift=1.0), **nothing
    )
    height, width = (pipeline.vae_scale_factor * side for side in noise.shape[2:])
    theirs = sampled(
        pipeline,
        prompt_embeds=prompts.embeds_BLD,
        pooled_prompt_embeds=prompts.pooled_BP,
        latents=pack_latents(noise),
        height=height,
        width=width,
        sigmas=[1.0, 2 / 3, 1 / 3],
        guidance_scale=GUIDANCE,
    )
    found = ours(family, transformer, noise, prompts)
    assert torch.allclose(found, unpack_latents(theirs, *noise.shape[2:]), atol=1e-5)
    assert (found - noise).abs().max() > 0.1


def test_sd3_samples_as_its_pipeline_does():
    from diffusers import FlowMatchEulerDiscreteScheduler, StableDiffusion3Pipeline

    family = families()["SD3Transformer2DModel"]
    transformer, (noise, prompts) = built(family), inputs()
    parts = ("text_encoder", "text_encoder_2", "text_encoder_3", "tokenizer", "tokenizer_2", "tokenizer_3")
    pipeline = StableDiffusion3Pipeline(
        transformer=transformer,
        vae=tiny_vae(),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=1.0),
        **dict.fromkeys(parts),
    )
    height, width = (pipeline.vae_scale_factor * side for side in noise.shape[2:])
    theirs = sampled(
        pipeline,
        prompt_embeds=prompts.embeds_BLD,
        pooled_prompt_embeds=prompts.pooled_BP,
        latents=noise,
        height=height,
        width=width,
        sigmas=[1.0, 2 / 3, 1 / 3],
        guidance_scale=1.0,
    )
    found = ours(family, transformer, noise, prompts)
    assert torch.allclose(found, theirs, atol=1e-5)
    assert (found - noise).abs().max() > 0.1


@pytest.mark.parametrize("kind", ["FluxTransformer2DModel", "SD3Transformer2DModel"])
def test_each_sample_has_its_own_time_and_prompt(kind):
    family = families()[kind]
    transformer, (noise, prompts) = built(family), inputs()
    times = torch.tensor([0.2, 0.9])

    def alone(index):
        own = Prompts(prompts.embeds_BLD[index : index + 1], prompts.pooled_BP[index : index + 1])
        part = slice(index, index + 1)
        return family.velocity(transformer, noise[part], times[part], own, guidance=GUIDANCE)

    with torch.no_grad():
        together = family.velocity(transformer, noise, times, prompts, guidance=GUIDANCE)
        assert torch.allclose(together, torch.cat([alone(0), alone(1)]), atol=1e-5)
