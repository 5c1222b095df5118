"""The models of the demonstration: they learn, and a LoRA run opens them."""

import pytest
import torch

from generation.demo import base
from generation.demo.base import train_base, train_vae
from generation.demo.people import SIDE, portraits
from generation.identity.flow import noised, x0_estimate
from generation.identity.latents import decode, encode
from generation.lora.config import load_lora_config
from generation.lora.families import Prompts
from generation.lora.families.sd3 import SD3
from generation.lora.models import open_models
from generation.pictures import batch_of
from recognition.errors import InputError
from tests.conftest import CONFIGS


@pytest.fixture(scope="module")
def img01():
    drawn = portraits([(number, number) for number in range(40)], seed=0, domain=1)
    return batch_of([portrait.pixels_HWC for portrait in drawn])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("base")
    train_base(out, seed=0, people=base.HELD_OUT + 20, vae_steps=3, steps=3)
    return out


def test_the_vae_shows_more_than_the_mean_picture_and_its_latents_are_of_unit_size(img01):
    vae = train_vae(img01[:30], steps=80, seed=0)
    unseen = img01[30:]
    with torch.no_grad():
        latents = encode(vae, img01[:30])
        error = (decode(vae, encode(vae, unseen)) - unseen).square().mean()
    assert error < 0.6 * (unseen - img01[:30].mean(0)).square().mean()
    assert latents.shape[1:] == (base.LATENT_CHANNELS, SIDE // 2, SIDE // 2)
    assert latents.mean().abs() < 1e-4
    assert abs(latents.std() - 1) < 1e-4


def test_the_transformer_learns_what_words_stand_for(img01):
    x0 = torch.tensor([-2.0, 2.0])[:, None, None, None].expand(2, base.LATENT_CHANNELS, 4, 4)
    prompts = base.prompts_of([("left",), ("right",)])
    transformer = base.train_transformer(x0, prompts, steps=120, seed=0)
    x1, t_B = torch.randn(x0.shape, generator=torch.Generator().manual_seed(1)), torch.full((2,), 0.8)
    x_t = noised(x0, x1, t_B)
    with torch.no_grad():
        pred = SD3().velocity(transformer, x_t, t_B, prompts, guidance=1.0)
        other = Prompts(prompts.embeds_BLD.flip(0), prompts.pooled_BP.flip(0))
        misled = SD3().velocity(transformer, x_t, t_B, other, guidance=1.0)
    error = (x0_estimate(x_t, pred, t_B) - x0).square().mean()
    assert error < 0.5
    assert (x0_estimate(x_t, misled, t_B) - x0).square().mean() > 4 * error


def options(folder, *more):
    words = [f"vae={folder / 'vae'}", f"transformer={folder / 'transformer'}", "data=faces.jsonl"]
    return load_lora_config(CONFIGS / "lora_base.py", [*words, f"image_size={SIDE}", "device=cpu", *more])


def test_a_run_opens_them_in_silence(folder, capfd):
    models = open_models(options(folder), torch.device("cpu"))
    assert type(models.vae).__name__ == "AutoencoderTiny"
    assert models.scale == 2
    assert capfd.readouterr() == ("", "")


def test_windows_of_such_a_vae_are_refused(folder):
    with pytest.raises(InputError, match="face_window=True needs an AutoencoderKL"):
        open_models(options(folder, "face_window=True"), torch.device("cpu"))


def test_nobody_to_learn_from_is_refused(tmp_path):
    with pytest.raises(InputError, match=f"people={base.HELD_OUT} must be above {base.HELD_OUT}"):
        train_base(tmp_path, seed=0, people=base.HELD_OUT, vae_steps=1, steps=1)
