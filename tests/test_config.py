"""One config out of base, file and command line: types, rules, masks, and the errors that people get."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import pytest

from recognition.config import (
    ConfigError,
    TrainConfig,
    base_values,
    config_json,
    describe_config,
    load_config,
    without_effect,
)
from recognition.errors import InputError
from recognition.head.losses import build_objective
from tests.conftest import CONFIGS

GLINT = CONFIGS / "glint360k_r50.py"
THEIRS = Path(__file__).parent / "configs" / "arcface_style.py"
SECRET = "0123456789abcdef0123456789abcdef01234567"


def config_file(folder: Path, *lines: str, name: str = "mine.py") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    head = ["from easydict import EasyDict as edict", "config = edict()", "config.rec = 'faces'"]
    (folder / name).write_text("\n".join([*head, *lines]) + "\n")
    return folder / name


def complaint(path: Path, *overrides: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load_config(path, overrides)
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_values_come_from_base_file_and_command_line(tmp_path):
    path = config_file(tmp_path, "config.lr = 0.3", "config.momentum = 0.8")
    cfg = load_config(path, ["lr=0.2", "seed=1", "seed=2"])
    assert (cfg.lr, cfg.momentum, cfg.weight_decay, cfg.seed) == (0.2, 0.8, 5e-4, 2)
    base_values()["lr"] = 5.0
    assert base_values()["lr"] == 0.1


def test_the_config_is_frozen_and_flat():
    cfg = load_config(GLINT)
    with pytest.raises(dataclasses.FrozenInstanceError):
        cfg.lr = 1.0
    assert not hasattr(cfg, "__dict__")
    assert dataclasses.replace(cfg, num_classes=7).num_classes == 7
    with pytest.raises(ConfigError, match="num_classes=1 must"):
        dataclasses.replace(cfg, num_classes=1)


def test_a_file_of_arcface_torch_loads_unchanged(tmp_path):
    cfg = load_config(shutil.copy(THEIRS, tmp_path / "their_mbf.py"))
    assert cfg.margin_list == (1.0, 0.0, 0.4)
    assert (cfg.num_classes, cfg.num_image, cfg.warmup_epoch) == (10_000, 500_000, 2.0)
    assert cfg.val_targets == ("lfw", "cfp_fp", "agedb_30")
    assert (cfg.sample_rate, type(cfg.sample_rate)) == (1.0, float)
    assert cfg.precision_used == "fp16"
    assert cfg.wandb_key is None, "a row of X stands for no key"
    assert cfg.notes == "second try"
    assert cfg.output_dir == Path("work_dirs/their_mbf")
    assert without_effect(cfg) == []


def test_keys_without_effect_are_said_so(tmp_path):
    cfg = load_config(config_file(tmp_path, "config.save_all_states = True"))
    (line,) = without_effect(cfg)
    assert line.startswith("save_all_states=True has no effect yet: it needs none, every checkpoint has")


def test_minus_one_means_no_warmup(tmp_path):
    assert load_config(config_file(tmp_path, "config.warmup_epoch = -1")).warmup_epoch == 0
    assert "warmup_epoch" in complaint(config_file(tmp_path, "config.warmup_epoch = -2"))


@pytest.mark.parametrize(
    ("override", "key", "value"),
    [
        ("lr=1e-3", "lr", 1e-3),
        ("lr=1", "lr", 1.0),
        ("batch_size=64", "batch_size", 64),
        ("num_image=1_000_000", "num_image", 1_000_000),
        ("num_image=none", "num_image", None),
        ("compile=true", "compile", True),
        ("compile=FALSE", "compile", False),
        ("precision=bf16", "precision", "bf16"),
        ("precision='bf16'", "precision", "bf16"),
        ("output=runs/a=b", "output", "runs/a=b"),
        ("output=2024", "output", "2024"),
        ("notes=None", "notes", None),
        ("notes=it's new, (really)", "notes", "it's new, (really)"),
        ("margin_list=(1, 0.5, 0)", "margin_list", (1.0, 0.5, 0.0)),
        ("margin_list=[1.0,0.5,0.1]", "margin_list", (1.0, 0.5, 0.1)),
        ("margin_list=1,0.5,0.1", "margin_list", (1.0, 0.5, 0.1)),
        ("centers=mmap:/data/centers", "centers", "mmap:/data/centers"),
        ("val_targets=['lfw', 'cfp_fp']", "val_targets", ("lfw", "cfp_fp")),
        ("val_targets=[lfw,cfp_fp]", "val_targets", ("lfw", "cfp_fp")),
        ("val_targets=lfw", "val_targets", ("lfw",)),
        ("val_targets=[]", "val_targets", ()),
        ("val_targets=", "val_targets", ()),
    ],
)
def test_overrides_mean_what_their_key_wants(override, key, value):
    got = getattr(load_config(GLINT, [override]), key)
    assert got == value
    assert type(got) is type(value)


@pytest.mark.parametrize(
    ("line", "wants"),
    [
        ("config.lr = '0.1'", "lr wants a number, not '0.1' (text)"),
        ("config.lr = True", "lr wants a number, not True (bool)"),
        ("config.lr = float('nan')", "lr wants a number, not nan (float)"),
        ("config.batch_size = True", "batch_size wants a whole number, not True (bool)"),
        ("config.batch_size = 8.5", "batch_size wants a whole number, not 8.5 (float)"),
        ("config.batch_size = None", "batch_size wants a whole number, not None"),
        ("config.fp16 = 1", "fp16 wants True or False, not 1 (int)"),
        ("config.network = 50", "network wants text, not 50 (int)"),
        ("config.num_image = '5M'", "num_image wants a whole number or None, not '5M' (text)"),
        ("config.margin_list = (1.0, 0.5)", "margin_list wants 3 numbers"),
        ("config.margin_list = 0.5", "margin_list wants 3 numbers"),
        ("config.margin_list = (1.0, 'a', 0.0)", "margin_list wants 3 numbers"),
        ("config.val_targets = [1]", "val_targets wants a list of text"),
        ("config.val_targets = None", "val_targets wants a list of text"),
    ],
)
def test_wrong_types_in_a_file(tmp_path, line, wants):
    text = complaint(config_file(tmp_path, line))
    assert wants in text
    assert "mine.py: " in text


@pytest.mark.parametrize(
    ("override", "wants"),
    [
        ("lr=fast", "lr wants a number, not 'fast' (text)"),
        ("batch_size=true", "batch_size wants a whole number, not 'true' (text)"),
        ("batch_size=4*128", "batch_size wants a whole number, not '4*128' (text)"),
        ("batch_size=", "batch_size wants a whole number, not '' (text)"),
        ("margin_list=(1,2)", "margin_list wants 3 numbers"),
        ("magface_norms=10", "magface_norms wants 2 numbers, e.g. (1.0, 0.5)"),
        ("val_targets=3", "val_targets wants a list of text"),
    ],
)
def test_wrong_types_on_the_command_line(override, wants):
    text = complaint(GLINT, override)
    assert text.startswith("command line: ")
    assert wants in text


def test_overrides_are_data_not_code(tmp_path):
    target = tmp_path / "touched"
    load_config(GLINT, [f"notes=__import__('pathlib').Path({str(target)!r}).touch()"])
    assert not target.exists()


@pytest.mark.parametrize(
    ("key", "advice"),
    [
        ("bach_size", "did you mean 'batch_size'?"),
        ("num_epochs", "did you mean 'num_epoch'?"),
        ("learning_rate", "write lr"),
        ("leraning_rate", "write lr"),
        ("decay_epoch", "schedule="),
    ],
)
def test_unknown_keys_name_the_nearest(tmp_path, key, advice):
    path = config_file(tmp_path, f"config.{key} = 'arcface'")
    text = complaint(path)
    assert text.startswith(f"{path}: unknown key {key!r}")
    assert advice in text
    assert complaint(GLINT, f"{key}=1").startswith(f"command line: unknown key {key!r}")


def test_an_argument_without_a_value_is_refused():
    assert "'lr' is not key=value" in complaint(GLINT, "lr")
    assert "is not key=value" in complaint(GLINT, "=3")


BROKEN = {
    "sample_rate=0": "(0, 1]",
    "sample_rate=1.5": "(0, 1]",
    "batch_size=1": "at least 2",
    "gradient_acc=0": "at least 1",
    "val_batch_size=0": "at least 1",
    "momentum=1.0": "[0, 1)",
    "momentum=-0.1": "[0, 1)",
    "dropout=1": "[0, 1)",
    "ema_decay=1.0": "[0, 1)",
    "weight_decay=-1e-4": "negative",
    "lr=0": "above 0",
    "num_epoch=0": "above 0",
    "warmup_epoch=21": "lower warmup_epoch",
    "schedule=step": "polynomial, cosine",
    "optimizer=sdg": "did you mean 'sgd'",
    "network=r5O": "did you mean 'r50'",
    "margin_gradient=straight": "did you mean 'straight_through'",
    "loss=adafce": "did you mean 'adaface'",
    "loss=arcface": "loss=combined margin_list=(1.0, 0.5, 0.0)",
    "sub_centers=0": "at least 1",
    "sub_centers=2": "only with subcenter_arcface; set sub_centers=3 or another loss",
    "adaface_m=2": "[0, pi / 2]",
    "adaface_m=0.5": "only with adaface",
    "adaface_h=0": "above 0",
    "adaface_t_alpha=0": "(0, 1]",
    "magface_norms=(110, 10)": "0 < smallest < largest",
    "magface_margins=(0.8, 0.4)": "smallest <= largest <= pi",
    "magface_lambda_g=-1": "negative",
    "magface_lambda_g=20": "only with magface",
    "curricularface_m=4": "[0, pi]",
    "curricularface_t_alpha=2": "(0, 1]",
    "uniface_m=-1": "[0, 2]",
    "uniface_lambda=0": "above 0",
    "lazy=never": "exact, skip",
    "centers=disk": "memory, host or mmap:FOLDER",
    "centers=mmap:": "memory, host or mmap:FOLDER",
    "head_mode=kept": "did you mean 'keep'",
    "head_operands=fp16": "auto, fp32, tf32, bf16",
    "precision=fp8": "fp32, bf16, fp16",
    "embedding_size=0": "at least 1",
    "num_classes=1": "leave it out",
    "num_image=0": "leave it out",
    "max_steps=0": "leave it out",
    "threads=-1": "negative",
    "device=gpu": "cuda:N",
    "resume=yes": "did you mean",
    "augment=bulr:0.2": "did you mean 'blur'",
    "augment=blur": "e.g. blur:0.2",
    "augment=blur:1.1": "at most 1",
    "augment=blur:0.2:sgima=1": "did you mean 'sigma'",
    "augment=grey:0.2:scale=1": "it takes a probability only",
    "augment=blur:0.2:sigma=2..1": "0.1 <= LOW <= HIGH <= 5; sigma=0.4..1.6 is usual",
    "augment=blur:0.2:sigma=0.1..6": "HIGH <= 5",
    "augment=blur:0.2:sigma=0..1": "0.1 <= LOW",
    "augment=blur:0.2:sigma=": "must be LOW..HIGH",
    "augment=flip:0.5": "write flip=True",
    "augment=blur:0.2,blur:0.3": "names blur twice",
    "rec=": "train.rec",
    "val_targets=lfw.bin": "val_dir",
    "val_targets=/data/lfw": "val_dir",
    "interclass_filtering_threshold=-0.1": "[0, 1]",
    "seed=-1": "negative",
    "num_workers=-1": "negative",
    "verbose=0": "at least 1",
    "data_timeout_s=0": "above 0",
    "on_bad_record=skipp": "did you mean 'skip'",
    "bad_record_share=1": "[0, 1)",
    "bad_record_share=-0.1": "[0, 1)",
}


@pytest.mark.parametrize("override", BROKEN)
def test_rules_name_the_key_and_the_fix(override):
    text = complaint(GLINT, override)
    assert text.startswith("command line: ")
    assert override.split("=")[0] in text
    assert BROKEN[override] in text


@pytest.mark.parametrize("loss", ["adaface", "magface", "curricularface", "uniface"])
def test_keys_of_another_loss_are_refused(tmp_path, loss):
    path = config_file(tmp_path, f"config.loss = {loss!r}")
    assert load_config(path).loss == loss
    for override in ("margin_list=(1, 0, 0.4)", "margin_gradient=straight_through", "sub_centers=2"):
        key = override.split("=")[0]
        assert f"command line: {key}=" in complaint(path, override)
        assert f"has no effect with loss='{loss}'" in complaint(path, override)
    assert "interclass_filtering_threshold=0.4 has no effect" in complaint(path, "interclass_filtering_threshold=0.4")


def test_what_dali_aug_does_is_not_asked_for_twice():
    text = complaint(GLINT, "dali_aug=True", "augment=grey:0.2,mask:0.1")
    assert "augment names grey, which dali_aug=True does too; set dali_aug=False" in text
    assert len(load_config(GLINT, ["dali_aug=True", "augment=mask:0.1"]).augmentations) == 5


def test_every_loss_reads_its_own_keys():
    own = {
        "combined": ("margin_list=(1, 0, 0.3)", "margin_gradient=straight_through"),
        "subcenter_arcface": ("sub_centers=2", "margin_list=(1, 0, 0.3)", "interclass_filtering_threshold=0.4"),
        "adaface": ("adaface_m=0.5", "adaface_h=0.25", "adaface_t_alpha=1"),
        "magface": ("magface_norms=(1, 51)", "magface_margins=0.4,0.9", "magface_lambda_g=20"),
        "curricularface": ("curricularface_m=0.4", "curricularface_t_alpha=0.1"),
        "uniface": ("uniface_m=0.3", "uniface_lambda=0.5"),
    }
    for loss, overrides in own.items():
        base = (CONFIGS / "ms1mv3_r50.py", [f"loss={loss}"])
        cfg, plain = load_config(base[0], [*base[1], *overrides]), load_config(*base)
        assert all(getattr(cfg, o.split("=")[0]) != getattr(plain, o.split("=")[0]) for o in overrides)
        # What the config says arrives in the objective.
        assert repr(build_objective(cfg)) != repr(build_objective(plain))


def test_a_broken_rule_names_the_file_that_broke_it(tmp_path):
    path = config_file(tmp_path, "config.sample_rate = 2.0")
    assert complaint(path, "lr=0.2").startswith(f"{path}: sample_rate=2.0 must")
    assert isinstance(ConfigError("x"), InputError)


def test_synthetic_data_needs_its_size():
    assert "set num_classes" in complaint(CONFIGS / "base.py", "rec=synthetic", "num_image=10")
    assert "set num_image" in complaint(CONFIGS / "base.py", "rec=synthetic", "num_classes=10")


@pytest.mark.parametrize(
    ("lines", "overrides", "used"),
    [
        ((), (), "fp32"),
        (("config.fp16 = True",), (), "fp16"),
        (("config.fp16 = True",), ("precision=bf16",), "bf16"),
        (("config.fp16 = True",), ("fp16=False",), "fp32"),
        (("config.precision = 'bf16'",), ("fp16=True",), "fp16"),
        (("config.precision = 'bf16'",), ("fp16=False",), "bf16"),
        (("config.precision = 'fp16'",), ("fp16=False",), "fp32"),
        (("config.precision = 'fp16'",), (), "fp16"),
        ((), ("fp16=True", "tiny=True"), "fp16"),
    ],
)
def test_precision_follows_the_last_word(tmp_path, lines, overrides, used):
    cfg = load_config(config_file(tmp_path, *lines), overrides)
    assert cfg.precision_used == used
    assert cfg.fp16 == (used == "fp16")


def test_precision_and_fp16_must_not_contradict_each_other(tmp_path):
    path = config_file(tmp_path, "config.fp16 = True", "config.precision = 'bf16'")
    assert "precision='bf16' contradicts fp16=True" in complaint(path)
    assert "precision='fp16' contradicts fp16=False" in complaint(GLINT, "precision=fp16", "fp16=False")


def test_secrets_never_show(tmp_path):
    cfg = load_config(config_file(tmp_path, f"config.wandb_key = {SECRET!r}", "config.using_wandb = True"))
    assert cfg.wandb_key == SECRET
    for text in (repr(cfg), str(cfg), f"{cfg}", describe_config(cfg), config_json(cfg)):
        assert SECRET not in text
        assert "****" in text
    assert json.loads(config_json(cfg))["wandb_key"] == "****"


@pytest.mark.parametrize(
    "override",
    [f"wandb_kee={SECRET}", f"wandb_api_key={SECRET}", f"wandb_key:{SECRET}", f"wandb_key={SECRET}"],
)
def test_errors_do_not_show_secrets_either(override):
    text = complaint(GLINT, override, "lr=fast")
    assert SECRET not in text


def test_a_secret_of_the_wrong_type_does_not_show(tmp_path):
    text = complaint(config_file(tmp_path, f"config.wandb_key = [{SECRET!r}]"))
    assert "wandb_key wants text or None" in text
    assert SECRET not in text


def test_json_holds_every_field():
    cfg = load_config(GLINT)
    stored = json.loads(config_json(cfg))
    assert list(stored) == [field.name for field in dataclasses.fields(TrainConfig)]
    assert stored["margin_list"] == [1.0, 0.0, 0.4]
    assert "wandb_key" in stored


def test_description_tells_what_differs():
    top, _, rest = describe_config(load_config(GLINT, ["lr=0.25"])).partition("as in configs/base.py:")
    assert "lr " in top
    assert "0.25  (default 0.1)" in top
    assert "momentum" not in top
    assert "momentum=0.9" in rest
    assert all(key in top + rest for key in base_values())
