"""Prompts as text, by the pipeline's own encoders: small ones, made here with tokenizers of single letters."""

import dataclasses
import json
import shutil
import string
import warnings

import pytest
import torch
from safetensors.torch import load_file, save_file

from generation.lora.assembly import assemble
from generation.lora.cache import Cache
from generation.lora.families import families
from generation.lora.models import open_models
from generation.lora.prompts import EMBEDS, KIND, POOLED, PromptReader
from generation.lora.rows import Row
from recognition.errors import InputError
from recognition.runtime import Runtime
from tests.generation.lora.small_lora import adapter, people, read_back, run, small, write_rows

TOKENS = 8
CPU = torch.device("cpu")


def clip_tokenizer(folder):
    from transformers import CLIPTokenizer

    letters = list(string.ascii_lowercase)
    names = [*letters, *(letter + "</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    folder.mkdir()
    (folder / "vocab.json").write_text(json.dumps({name: place for place, name in enumerate(names)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    tokenizer = CLIPTokenizer(vocab=str(folder / "vocab.json"), merges=str(folder / "merges.txt"))
    tokenizer.model_max_length = TOKENS
    return tokenizer


def clip(kind, width, seed):
    import transformers

    config = transformers.CLIPTextConfig(
        vocab_size=54, hidden_size=width, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
        max_position_embeddings=TOKENS, projection_dim=width, bos_token_id=52, eos_token_id=53, pad_token_id=53,
    )  # fmt: skip
    torch.manual_seed(seed)
    return getattr(transformers, kind)(config).eval()


def t5():
    from transformers import T5Config, T5EncoderModel, T5TokenizerFast

    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]
    pieces += [(mark + letter, -2.0) for mark in ("▁", "") for letter in string.ascii_lowercase]
    torch.manual_seed(2)
    config = T5Config(vocab_size=len(pieces), d_model=32, d_kv=8, d_ff=32, num_layers=1, num_heads=2)
    return T5EncoderModel(config).eval(), T5TokenizerFast(vocab=pieces)


@pytest.fixture(scope="module")
def pipelines(tmp_path_factory):
    """Folders of pipelines that have text encoders alone, by family."""
    import diffusers

    folder = tmp_path_factory.mktemp("encoders")
    tokenizer, (encoder_t5, tokenizer_t5) = clip_tokenizer(folder / "tokenizer"), t5()
    flux = {"text_encoder": clip("CLIPTextModel", 32, 0), "tokenizer": tokenizer}
    flux |= {"text_encoder_2": encoder_t5, "tokenizer_2": tokenizer_t5}
    both = {"text_encoder": clip("CLIPTextModelWithProjection", 16, 0), "tokenizer": tokenizer}
    both |= {"text_encoder_2": clip("CLIPTextModelWithProjection", 16, 1), "tokenizer_2": tokenizer}
    sd3 = both | {"text_encoder_3": encoder_t5, "tokenizer_3": tokenizer_t5}
    made = {}
    for name, kind, parts in (("flux", "FluxPipeline", flux), ("sd3", "StableDiffusion3Pipeline", sd3)):
        scheduler = diffusers.FlowMatchEulerDiscreteScheduler()
        pipeline = getattr(diffusers, kind)(transformer=None, vae=None, scheduler=scheduler, **parts)
        pipeline.save_pretrained(folder / name)
        made[name] = (folder / name, parts)
    return made


def reader(home, pipelines, family, folder):
    cfg = small(home / "prompts", f"transformer=tiny-{family}", f"prompt_tokens={TOKENS}", f"cache={folder}")
    cfg = dataclasses.replace(cfg, text_encoders=str(pipelines[family][0]))
    models = open_models(cfg, CPU)
    return PromptReader(cfg, models.family, models.transformer.config, Cache(cfg.cache_dir), CPU)


def row(prompt):
    return Row("list.jsonl:1", None, "a.png", "person", prompt=prompt)


def ids(tokenizer, text):
    options = {"padding": "max_length", "max_length": TOKENS, "truncation": True, "return_tensors": "pt"}
    return tokenizer(text, **options).input_ids


@torch.no_grad()
def test_flux_has_t5_for_tokens_and_clip_for_the_whole(home, pipelines, tmp_path):
    found = reader(home, pipelines, "flux", tmp_path)(row("a man"))
    parts = pipelines["flux"][1]
    assert torch.allclose(found[EMBEDS], parts["text_encoder_2"](ids(parts["tokenizer_2"], "a man"))[0][0], atol=1e-6)
    expected = parts["text_encoder"](ids(parts["tokenizer"], "a man")).pooler_output[0]
    assert torch.allclose(found[POOLED], expected, atol=1e-6)


@torch.no_grad()
def test_sd3_has_two_clips_side_by_side_before_t5(home, pipelines, tmp_path):
    found = reader(home, pipelines, "sd3", tmp_path)(row("a man"))
    parts = pipelines["sd3"][1]
    clips = [
        parts[f"text_encoder{end}"](ids(parts["tokenizer"], "a man"), output_hidden_states=True) for end in ("", "_2")
    ]
    assert torch.allclose(found[POOLED], torch.cat([out.text_embeds[0] for out in clips]), atol=1e-6)
    tokens = torch.cat([out.hidden_states[-2][0] for out in clips], 1)
    of_t5 = parts["text_encoder_3"](ids(parts["tokenizer_3"], "a man"))[0][0]
    assert torch.allclose(found[EMBEDS], torch.cat([tokens, of_t5]), atol=1e-6)


def test_a_prompt_is_encoded_once_and_then_no_encoder_is_loaded(home, pipelines, tmp_path):
    first = reader(home, pipelines, "flux", tmp_path)
    expected = [first(row(prompt)) for prompt in ("a man", "b", "a man")]
    assert first.cache.made[KIND] == 2
    again = reader(home, pipelines, "flux", tmp_path)
    assert torch.equal(again(row("a man"))[EMBEDS], expected[0][EMBEDS])
    assert again.cache.made[KIND] == 0
    assert "pipeline" not in vars(again)


def test_another_precision_and_an_encoder_with_another_end_are_encoded_anew(home, pipelines, tmp_path):
    source = shutil.copytree(pipelines["flux"][0], tmp_path / "source")
    made = reader(home, {"flux": (source, None)}, "flux", tmp_path / "cache")
    made(row("a man"))
    made.cfg = dataclasses.replace(made.cfg, precision="bf16")
    made.forget_encoders()
    with warnings.catch_warnings():
        warnings.simplefilter("error", FutureWarning)  # of the library, to people who can do nothing about it
        made(row("a man"))
    assert {p.dtype for p in made.pipeline.text_encoder_2.parameters()} == {torch.bfloat16}
    assert made.cache.made[KIND] == 2
    again = reader(home, {"flux": (source, None)}, "flux", tmp_path / "cache")
    before = again.encoders_sha256
    large = source / "text_encoder_2" / "large.safetensors"
    hashes = {before}
    for end in (b"a", b"b"):
        large.write_bytes(bytes(3 << 20) + end)
        hashes.add(reader(home, {"flux": (source, None)}, "flux", tmp_path / "cache").encoders_sha256)
    assert len(hashes) == 3


def test_vectors_that_are_not_finite_are_no_prompts_and_not_kept(home, pipelines, tmp_path):
    source = shutil.copytree(pipelines["flux"][0], tmp_path / "source")
    path = source / "text_encoder_2" / "model.safetensors"
    state = load_file(path)
    save_file({name: value * torch.nan for name, value in state.items()}, path, metadata={"format": "pt"})
    with pytest.raises(InputError, match=r"list\.jsonl:1: prompt_embeds has numbers that are not finite"):
        reader(home, {"flux": (source, None)}, "flux", tmp_path / "cache")(row("a man"))
    assert list((tmp_path / "cache").rglob("*.safetensors")) == []


def test_a_whole_run_may_have_prompts_of_text(home, pipelines, tmp_path):
    lines = read_back(people(home / "people"))
    for line in lines:
        del line["prompt_embeds"]
        line["prompt"] = "a face"
        line["image"] = line["ref_image"] = str(home / "people" / line["image"])
    data = write_rows(tmp_path / "texts.jsonl", lines)
    folder = pipelines["flux"][0]
    options = (f"data={data}", f"text_encoders={folder}", f"prompt_tokens={TOKENS}", "max_steps=1")
    assert len(adapter(run(home / "texts", *options))) == 14
    # The same words by other encoders are other data.
    source = shutil.copytree(folder, tmp_path / "source")
    before = assemble(small(home / "texts", *options, f"text_encoders={source}"), Runtime()).samples.sha256
    path = source / "text_encoder_2" / "model.safetensors"
    save_file({name: value + 0.01 for name, value in load_file(path).items()}, path, metadata={"format": "pt"})
    after = assemble(small(home / "texts", *options, f"text_encoders={source}"), Runtime()).samples.sha256
    assert before != after


def test_a_folder_without_encoders_is_named(home, pipelines, tmp_path):
    made = reader(home, pipelines, "flux", tmp_path)
    made.cfg = dataclasses.replace(made.cfg, text_encoders=str(tmp_path))
    with pytest.raises(InputError, match="no folder of a pipeline: it has no model_index.json"):
        made(row("a"))
    for content, words in (
        ("{}", "is no list of a pipeline's parts"),
        ('{"_class_name": "StableDiffusion3Pipeline"}', "is a StableDiffusion3Pipeline; .* those of a FluxPipeline"),
        ('{"_class_name": ["mine", "FluxPipeline"]}', "the transformer wants those of a FluxPipeline"),
        ('{"_class_name": "FluxPipeline", "text_encoder": ["mine", "A"]}', "text_encoder is of a class beside"),
        ('{"_class_name": "FluxPipeline", "text_encoder": ["transformers", "CLIPTextModel"]}', "cannot be read"),
    ):
        (tmp_path / "model_index.json").write_text(content)
        with pytest.raises(InputError, match=words) as error:
            made(row("b"))
        assert "\n" not in str(error.value)


def test_both_families_are_the_ones_that_are_known():
    assert {family.name for family in families().values()} == {"flux", "sd3"}
