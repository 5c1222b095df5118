"""Adapters: what is trained, what is stored, and that diffusers itself reads it back to the same output."""

import dataclasses

import pytest
import torch
from safetensors.torch import load_file, save_file

from generation.lora.adapter import FILE, adapter_parameters, add_adapter, load_adapter, save_adapter
from generation.lora.families import Prompts
from generation.lora.models import open_models
from recognition.errors import InputError
from tests.generation.lora.small_lora import small

DRAW = torch.Generator().manual_seed(0)
X, T = torch.randn(2, 4, 8, 8, generator=DRAW), torch.tensor([0.3, 0.8])
PROMPTS = Prompts(torch.randn(2, 4, 32, generator=DRAW), torch.randn(2, 32, generator=DRAW))
FAMILIES = pytest.mark.parametrize("family", ["flux", "sd3"])


def models_of(cfg):
    return open_models(cfg, torch.device("cpu"))


def output(models, transformer=None):
    with torch.no_grad():
        return models.family.velocity(transformer or models.transformer, X, T, PROMPTS, guidance=3.5)


def trained(home, tmp_path, family, **changes):
    """Models whose adapter is not at its beginning, stored in `tmp_path`; and what they say."""
    cfg = dataclasses.replace(small(home / "run", f"transformer=tiny-{family}"), **changes)
    models = models_of(cfg)
    add_adapter(models.transformer, cfg)
    torch.manual_seed(3)
    with torch.no_grad():
        for parameter in adapter_parameters(models.transformer).values():
            parameter.normal_(std=0.3)
    save_adapter(tmp_path / "adapter", models.transformer, {"step": 7})
    return cfg, output(models)


@FAMILIES
def test_diffusers_reads_it_back_to_the_same_output(home, tmp_path, family):
    cfg, expected = trained(home, tmp_path, family)
    assert cfg.lora_alpha != cfg.rank
    models = models_of(cfg)
    assert (output(models) - expected).abs().max() > 0.01
    models.transformer.load_lora_adapter(tmp_path / "adapter", use_safetensors=True)
    assert torch.equal(output(models), expected)


@FAMILIES
def test_the_pipeline_reads_it_back_to_the_same_output(home, tmp_path, family):
    import diffusers

    cfg, expected = trained(home, tmp_path, family)
    models = models_of(cfg)
    kind = getattr(diffusers, models.family.pipeline)
    parts = ("text_encoder", "text_encoder_2", "text_encoder_3", "tokenizer", "tokenizer_2", "tokenizer_3")
    nothing = dict.fromkeys(parts if family == "sd3" else [part for part in parts if not part.endswith("3")])
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler()
    pipeline = kind(transformer=models.transformer, vae=models.vae, scheduler=scheduler, **nothing)
    pipeline.load_lora_weights(tmp_path / "adapter")
    assert torch.equal(output(models, pipeline.transformer), expected)


def test_a_run_may_start_from_it(home, tmp_path):
    cfg, expected = trained(home, tmp_path, "flux")
    models = models_of(cfg)
    add_adapter(models.transformer, dataclasses.replace(cfg, init=str(tmp_path / "adapter")))
    assert torch.equal(output(models), expected)


def test_or_from_the_run_that_has_it(home, tmp_path):
    cfg, expected = trained(home, tmp_path, "flux")
    models = models_of(cfg)
    add_adapter(models.transformer, dataclasses.replace(cfg, init=str(tmp_path)))
    assert torch.equal(output(models), expected)


def test_a_file_of_tensors_alone_may_start_a_run(home, tmp_path):
    cfg, expected = trained(home, tmp_path, "flux")
    save_file(load_file(tmp_path / "adapter" / FILE), tmp_path / "bare.safetensors")
    models = models_of(cfg)
    add_adapter(models.transformer, dataclasses.replace(cfg, init=str(tmp_path / "bare.safetensors")))
    assert torch.equal(output(models), expected)


def test_a_new_adapter_changes_nothing_and_is_equal_wherever_it_is_made(home):
    cfg = small(home / "run")
    first, second = models_of(cfg), models_of(cfg)
    bare = output(first)
    torch.manual_seed(11)
    add_adapter(first.transformer, cfg)
    torch.manual_seed(12)
    add_adapter(second.transformer, cfg)
    assert torch.equal(output(first), bare)
    pairs = zip(adapter_parameters(first.transformer).values(), adapter_parameters(second.transformer).values())
    assert all(torch.equal(one, other) for one, other in pairs)


def test_it_is_held_in_float32_beside_a_base_that_is_not(home):
    cfg = small(home / "run", "precision=bf16")
    models = models_of(cfg)
    add_adapter(models.transformer, cfg)
    trainable = adapter_parameters(models.transformer)
    assert {parameter.dtype for parameter in trainable.values()} == {torch.float32}
    base = {p.dtype for name, p in models.transformer.named_parameters() if name not in trainable}
    assert base == {torch.bfloat16}


def test_target_modules_that_match_nothing_name_the_nearest(home):
    cfg = small(home / "run", "target_modules=to_q,to_w")
    with pytest.raises(InputError, match=r"called 'to_w'; did you mean 'to_\w'\? There are .*to_out\.0"):
        add_adapter(models_of(cfg).transformer, cfg)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"rank": 3}, "of the same rank"),
        ({"target_modules": ("to_q",)}, "adapter of other layers"),
        ({"alpha": 3.0}, r"trained with alpha=6, the run has 3; set alpha=6"),
    ],
)
def test_an_adapter_that_does_not_fit_is_refused(home, tmp_path, changes, words):
    cfg, _ = trained(home, tmp_path, "flux")
    models = models_of(cfg)
    add_adapter(models.transformer, dataclasses.replace(cfg, **changes))
    with pytest.raises(InputError, match=words):
        load_adapter(models.transformer, tmp_path / "adapter")


def test_a_missing_adapter_is_named(home, tmp_path):
    cfg = small(home / "run", f"init={tmp_path}")
    with pytest.raises(InputError, match=FILE):
        add_adapter(models_of(cfg).transformer, cfg)
