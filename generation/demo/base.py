"""A small VAE and a small transformer, as diffusers stores them, trained for minutes on drawn people.

    python -m generation.demo.base OUT [--seed 0]

The transformer learns to draw somebody who answers a description; it is what LoRA runs then adapt to known people.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from generation.demo.people import WORD_WIDTH, portraits, words_as_vectors
from generation.identity.flow import flow_loss, noised, sample_t
from generation.identity.latents import decode, encode
from generation.lora.families import Prompts
from generation.lora.families.sd3 import SD3
from generation.lora.models import require_diffusers
from generation.pictures import batch_of
from recognition.atomic import write_text
from recognition.command import run_command
from recognition.errors import InputError

DOMAIN = 0x62617365  # "base"
HELD_OUT = 100  # people who are only measured on
LINES = 10
VAE_BATCH, VAE_LR, VAE_NOISE, VAE_WIDTH, LATENT_CHANNELS = 4, 4e-3, 0.05, 24, 4
BATCH, LR, PATCH, HEADS, HEAD_WIDTH, LAYERS = 8, 2e-3, 2, 3, 32, 3


def main() -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="folder for vae/ and transformer/")
    parser.add_argument("--seed", type=int, default=0, help="of people, weights and noise (default: 0)")
    parser.add_argument("--people", type=int, default=3000, help="one picture each (default: 3000)")
    parser.add_argument("--vae-steps", type=int, default=1000, help="default: 1000")
    parser.add_argument("--steps", type=int, default=1800, help="of the transformer (default: 1800)")
    given = parser.parse_args()
    torch.set_num_threads(1)  # two hardly help models so small
    train_base(given.out, seed=given.seed, people=given.people, vae_steps=given.vae_steps, steps=given.steps)


def train_base(out: Path, *, seed: int, people: int, vae_steps: int, steps: int) -> None:
    """Draw people, train both models on them and store these in `out`, and say how good they are.

    InputError for no more people than are held out, no step, and without diffusers.
    """
    require_diffusers()
    if people <= HELD_OUT or min(vae_steps, steps) < 1:
        raise InputError(
            f"people={people} must be above {HELD_OUT}, who are held out; vae-steps={vae_steps} and steps={steps} at "
            "least 1"
        )
    drawn = portraits([(number, number) for number in range(people)], seed=seed, domain=DOMAIN)
    img01_NCHW = batch_of([portrait.pixels_HWC for portrait in drawn])
    vae = train_vae(img01_NCHW[:-HELD_OUT], steps=vae_steps, seed=seed)
    unseen = img01_NCHW[-HELD_OUT:]
    with torch.no_grad():
        error = F.mse_loss(decode(vae, encode(vae, unseen)), unseen)
        latents_NCHW = torch.cat([encode(vae, some) for some in img01_NCHW.split(HELD_OUT)])
    print(f"VAE: {-10 * error.log10():.1f} dB on {HELD_OUT} people it has not seen", flush=True)
    prompts = prompts_of([portrait.words for portrait in drawn])
    transformer = train_transformer(latents_NCHW[:-HELD_OUT], prompts, steps=steps, seed=seed)
    for name, model in (("vae", vae), ("transformer", transformer)):
        model.save_pretrained(out / name)
    _leave_out(out / "vae" / "config.json", "block_out_channels")
    print(f"models: {out / 'vae'} and {out / 'transformer'}", flush=True)


def _leave_out(config: Path, key: str) -> None:
    """Take a key out that diffusers writes of itself, and warns of when it reads it back."""
    known = json.loads(config.read_text())
    known.pop(key, None)
    write_text(config, json.dumps(known, indent=2) + "\n")


def prompts_of(words: Sequence[Sequence[str]]) -> Prompts:
    """The prompts of a batch."""
    vectors = [words_as_vectors(each) for each in words]
    return Prompts(*(torch.stack([each[name] for each in vectors]) for name in vectors[0]))


def train_vae(img01_NCHW: Tensor, *, steps: int, seed: int) -> nn.Module:
    """An AutoencoderTiny, 2 pixels to a latent pixel, whose latents have mean 0 and deviation 1.

    A little noise on the latents and a pull towards 0 keep near pictures near in them.
    """
    from diffusers import AutoencoderTiny

    torch.manual_seed(seed)
    vae = AutoencoderTiny(
        encoder_block_out_channels=(VAE_WIDTH, VAE_WIDTH),
        decoder_block_out_channels=(VAE_WIDTH, VAE_WIDTH),
        num_encoder_blocks=(1, 1),
        num_decoder_blocks=(1, 1),
        latent_channels=LATENT_CHANNELS,
    )

    def loss_of(chosen_B: Tensor) -> Tensor:
        img11 = img01_NCHW[chosen_B] * 2 - 1
        img11 = torch.where(torch.rand(len(img11), 1, 1, 1) < 0.5, img11, img11.flip(3))
        latents = vae.encode(img11).latents
        made = vae.decode(latents + VAE_NOISE * torch.randn_like(latents)).sample
        return F.l1_loss(made, img11) + F.mse_loss(made, img11) + 1e-3 * latents.square().mean()

    _fit(vae, loss_of, len(img01_NCHW), steps=steps, batch_size=VAE_BATCH, lr=VAE_LR, what="VAE")
    vae.eval()
    with torch.no_grad():
        raw = vae.encode(img01_NCHW[:1000] * 2 - 1).latents
    vae.register_to_config(scaling_factor=1 / raw.std().item(), shift_factor=raw.mean().item())
    return vae


def train_transformer(latents_NCHW: Tensor, prompts: Prompts, *, steps: int, seed: int) -> nn.Module:
    """An SD3Transformer2DModel of a million parameters, by flow matching."""
    from diffusers import SD3Transformer2DModel

    side = latents_NCHW.shape[-1]
    torch.manual_seed(seed)
    transformer = SD3Transformer2DModel(
        sample_size=side,
        patch_size=PATCH,
        in_channels=LATENT_CHANNELS,
        out_channels=LATENT_CHANNELS,
        num_layers=LAYERS,
        attention_head_dim=HEAD_WIDTH,
        num_attention_heads=HEADS,
        joint_attention_dim=WORD_WIDTH,
        caption_projection_dim=HEADS * HEAD_WIDTH,
        pooled_projection_dim=WORD_WIDTH,
        pos_embed_max_size=side // PATCH,
    )
    family = SD3()

    def loss_of(chosen_B: Tensor) -> Tensor:
        x0, t_B = latents_NCHW[chosen_B], sample_t(len(chosen_B))
        x1 = torch.randn_like(x0)
        said = Prompts(prompts.embeds_BLD[chosen_B], prompts.pooled_BP[chosen_B])
        return flow_loss(family.velocity(transformer, noised(x0, x1, t_B), t_B, said, guidance=1.0), x0, x1)

    _fit(transformer, loss_of, len(latents_NCHW), steps=steps, batch_size=BATCH, lr=LR, what="transformer")
    return transformer.eval()


def _fit(
    model: nn.Module,
    loss_of: Callable[[Tensor], Tensor],
    count: int,
    *,
    steps: int,
    batch_size: int,
    lr: float,
    what: str,
) -> None:
    """Minimise `loss_of` batches of `count` samples, the learning rate up for a tenth of the steps and then down."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr, betas=(0.9, 0.99))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=steps, pct_start=0.1)
    mean = None
    for step in range(1, steps + 1):
        loss = loss_of(torch.randint(count, (batch_size,)))
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        mean = loss.item() if mean is None else 0.98 * mean + 0.02 * loss.item()
        if step % max(1, steps // LINES) == 0 or step == steps:
            print(f"{what}: step {step}/{steps}  loss {mean:.3f}", flush=True)


if __name__ == "__main__":
    run_command(main)
