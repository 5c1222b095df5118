"""Models from folders of diffusers: of the model or the pipeline, safetensors alone, the right families only."""

import dataclasses
import json
import shutil

import pytest
import torch

from generation.lora.families.flux import Flux
from generation.lora.families.sd3 import SD3
from generation.lora.models import open_models, tiny_vae
from recognition.errors import InputError
from tests.generation.lora.small_lora import small

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A folder with the parts of a Flux pipeline, and an SD3 transformer beside it."""
    folder = tmp_path_factory.mktemp("models")
    torch.manual_seed(0)
    (folder / "pipeline").mkdir()
    (folder / "pipeline" / "model_index.json").write_text(json.dumps({"_class_name": "FluxPipeline"}))
    Flux().tiny().save_pretrained(folder / "pipeline" / "transformer")
    tiny_vae().save_pretrained(folder / "pipeline" / "vae")
    SD3().tiny().save_pretrained(folder / "sd3")
    return folder


def config(home, transformer, vae="tiny"):
    return dataclasses.replace(small(home / "models"), transformer=str(transformer), vae=str(vae))


def complaint(cfg):
    with pytest.raises(InputError) as error:
        open_models(cfg, CPU)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_pipeline_and_the_parts_of_one_are_the_same(home, saved, tmp_path):
    whole = open_models(config(home, saved / "pipeline", saved / "pipeline"), CPU)
    parts = open_models(config(home, saved / "pipeline" / "transformer", saved / "pipeline" / "vae"), CPU)
    assert whole.family.name == "flux"
    assert whole.vae_sha256 == parts.vae_sha256
    moved = open_models(config(home, "tiny-flux", shutil.copytree(saved / "pipeline" / "vae", tmp_path / "moved")), CPU)
    assert moved.vae_sha256 == whole.vae_sha256
    for one, other in zip(whole.transformer.state_dict().values(), parts.transformer.state_dict().values()):
        assert torch.equal(one, other)
    assert not any(p.requires_grad for model in (whole.transformer, whole.vae) for p in model.parameters())


def test_they_are_held_in_their_precisions(home, saved):
    cfg = dataclasses.replace(config(home, saved / "pipeline", saved / "pipeline"), precision="bf16")
    models = open_models(cfg, CPU)
    assert {p.dtype for p in models.transformer.parameters()} == {torch.bfloat16}
    assert {p.dtype for p in models.vae.parameters()} == {torch.float32}


def test_the_family_is_that_of_the_folder(home, saved):
    assert open_models(config(home, saved / "sd3"), CPU).family.name == "sd3"


def test_the_hash_of_a_vae_tells_weights_scale_and_precision_apart(home, saved, tmp_path):
    vae = tiny_vae()
    vae.save_pretrained(tmp_path / "other")
    vae.register_to_config(scaling_factor=0.5)
    vae.save_pretrained(tmp_path / "scaled")
    cfgs = [
        config(home, "tiny-flux", folder) for folder in (saved / "pipeline", tmp_path / "other", tmp_path / "scaled")
    ]
    cfgs.append(dataclasses.replace(cfgs[0], vae_precision="bf16"))
    assert len({open_models(cfg, CPU).vae_sha256 for cfg in cfgs}) == 4


def test_mistakes_are_one_line(home, saved, tmp_path):
    assert "is no folder here" in complaint(config(home, "black-forest-labs/FLUX.1-dev"))
    assert "tiny-flux, tiny-sd3" in complaint(config(home, "tiny-flix"))
    (tmp_path / "empty").mkdir()
    assert "neither config.json nor transformer/config.json" in complaint(config(home, tmp_path / "empty"))
    assert "holds a AutoencoderKL" in complaint(config(home, saved / "pipeline" / "vae"))
    assert "a VAE is an AutoencoderKL" in complaint(config(home, "tiny-flux", saved / "sd3"))
    text = complaint(dataclasses.replace(config(home, "tiny-flux"), image_size=36))
    assert "image_size=36 must be a multiple of 8" in text


def test_a_vae_of_other_latents_is_refused(home, tmp_path):
    from diffusers import AutoencoderKL

    AutoencoderKL(block_out_channels=(8,), norm_num_groups=4, latent_channels=3).save_pretrained(tmp_path)
    assert "takes latents of 4 channels" in complaint(config(home, "tiny-sd3", tmp_path))


def test_missing_damaged_and_pickled_weights(home, saved, tmp_path):
    text = (saved / "sd3" / "config.json").read_text()
    (tmp_path / "config.json").write_text(text)
    assert "holds no weights (*.safetensors)" in complaint(config(home, tmp_path))
    torch.save({}, tmp_path / "diffusion_pytorch_model.bin")
    assert "may hold code and is not read" in complaint(config(home, tmp_path))
    (tmp_path / "diffusion_pytorch_model.safetensors").write_bytes(b"0" * 64)
    assert f"{tmp_path} cannot be read as SD3Transformer2DModel" in complaint(config(home, tmp_path))
    (tmp_path / "config.json").write_text("{")
    assert "is no config of a diffusers model" in complaint(config(home, tmp_path))
