"""The config of a LoRA run: every key documented and typed, and each mistake one line that names the key."""

import dataclasses
import re

import pytest

from generation.lora.config import FREE, NOT_HASHED, LoraConfig, base_values, load_lora_config
from recognition.config.source import ConfigError
from tests.conftest import CONFIGS

BASE = CONFIGS / "lora_base.py"
NEEDED = ("transformer=tiny-flux", "vae=tiny", "data=faces.jsonl")
NAMES = [field.name for field in dataclasses.fields(LoraConfig)]


def complaint(*overrides):
    with pytest.raises(ConfigError) as error:
        load_lora_config(BASE, [*NEEDED, *overrides])
    assert "\n" not in str(error.value)
    return str(error.value)


def test_every_key_has_a_default_and_a_comment_above_it():
    assert sorted(base_values()) == sorted(NAMES)
    lines = BASE.read_text().splitlines()
    for number, line in enumerate(lines):
        if key := re.match(r"config\.(\w+) = ", line):
            above = lines[number - 1]
            # Keys that belong together share a comment.
            assert above.startswith(("# ", "config.")), key[1]


def test_keys_that_change_nothing_are_keys():
    assert set(NAMES) >= FREE > NOT_HASHED
    assert not NOT_HASHED & {"seed", "lr", "rank", "face_loss_weight", "image_size", "transformer", "precision"}


@pytest.mark.parametrize("name", ["lora_flux", "lora_sd3"])
def test_the_ready_made_ones_need_only_what_lies_on_the_users_disk(name):
    cfg = load_lora_config(CONFIGS / f"{name}.py", [*NEEDED, "arcface_weights=runs/r50"])
    assert cfg.use_face_loss
    assert cfg.output_dir.name == name
    with pytest.raises(ConfigError, match="data is not set"):
        load_lora_config(CONFIGS / f"{name}.py")


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["face_loss_wieght=0.2"], ["command line", "face_loss_wieght", "'face_loss_weight'", "configs/lora_base.py"]),
        (["learning_rate=1"], ["learning_rate", "did you mean"]),
        (["data=."], ["data=. is a folder"]),
        (["rank=many"], ["rank", "whole number", "many"]),
        (["precision=bf61"], ["precision", "'bf16'", "fp32, bf16, fp16"]),
        (["schedule=linear"], ["schedule", "constant, cosine, polynomial"]),
        (["face_max_t=0"], ["face_max_t=0", "(0, 1]"]),
        (["target_modules="], ["target_modules", "names no layer"]),
        (["warmup_steps=9", "max_steps=8"], ["warmup_steps=9", "max_steps=8"]),
        (["face_loss_type=arcface"], ["no gradient", "held_out_recogniser"]),
        (["use_face_loss=True"], ["arcface_weights", "launch/train.py"]),
        (["held_out_recogniser=runs/r100"], ["held_out_recogniser", "arcface_weights, which is not set"]),
        (["arcface_model=r51"], ["r51", "r50"]),
        (["data=None"], ["data is not set"]),
        (["momentum=1"], ["momentum", "[0, 1)"]),
        (["monitor_samples=0"], ["monitor_samples=0", "at least 1"]),
    ],
)
def test_a_mistake_is_one_line_with_the_key(overrides, words):
    text = complaint(*overrides)
    assert [word for word in words if word not in text] == []


def test_alpha_is_the_rank_unless_it_is_given():
    assert load_lora_config(BASE, [*NEEDED, "rank=5"]).lora_alpha == 5
    assert load_lora_config(BASE, [*NEEDED, "rank=5", "alpha=2"]).lora_alpha == 2


def test_the_cache_lies_beside_the_list_and_not_in_a_run(tmp_path):
    cfg = load_lora_config(BASE, ["transformer=tiny-flux", "vae=tiny", f"data={tmp_path / 'a.jsonl'}", "output=runs/x"])
    assert cfg.cache_dir == tmp_path / "a.cache"
