"""Every file in configs/: it loads, says what it is, holds arcface_torch's values, and has a tiny twin."""

from __future__ import annotations

import ast
import dataclasses
import json
import re
from pathlib import Path

import pytest

from configs import datasets, recipes
from recognition.backbones import build_backbone
from recognition.config import ConfigError, TrainConfig, base_values, load_config
from tests.configs.experiments import EXPERIMENTS
from tests.conftest import CONFIGS

# Typed off arcface_torch's own files, whose values these are; its base.py is the 42nd file.
THEIRS = json.loads((Path(__file__).parent / "arcface_torch_values.json").read_text())
LOSSES = {f"ms1mv3_r50_{loss}" for loss in ("adaface", "magface", "curricular", "subcenter", "uniface")}
DEMOS = {"demo_orl", "demo_heads"}
OURS = {"faces_umd_mbf"} | DEMOS | LOSSES
FIELDS = [field.name for field in dataclasses.fields(TrainConfig)]


def load(name: str, *overrides: str) -> TrainConfig:
    return load_config(CONFIGS / f"{name}.py", overrides)


def docstring(name: str) -> str:
    return ast.get_docstring(ast.parse((CONFIGS / f"{name}.py").read_text()))


def test_all_42_files_of_arcface_torch_are_here():
    assert set(EXPERIMENTS) == set(THEIRS) | OURS
    assert len(THEIRS) + len(["base"]) == 42


@pytest.mark.parametrize("name", THEIRS)
def test_values_are_those_of_arcface_torch(name):
    cfg = load(name)
    theirs = dict(THEIRS[name])
    # arcface_torch writes -1 for no warm-up.
    theirs["warmup_epoch"] = max(0, theirs["warmup_epoch"])
    got = {key: getattr(cfg, key) for key in theirs}
    expected = {key: tuple(value) if isinstance(value, list) else value for key, value in theirs.items()}
    assert got == expected
    assert cfg.output_dir == Path("work_dirs") / name


def test_defaults_are_those_of_arcface_torch():
    theirs = {
        "margin_list": (1.0, 0.5, 0.0), "network": "r50", "save_all_states": False,
        "embedding_size": 512, "sample_rate": 1, "interclass_filtering_threshold": 0, "fp16": False, "batch_size": 128,
        "optimizer": "sgd", "lr": 0.1, "momentum": 0.9, "weight_decay": 5e-4, "verbose": 2000, "frequent": 10,
        "dali": False, "dali_aug": False, "gradient_acc": 1, "seed": 2048, "num_workers": 2, "suffix_run_name": None,
        "using_wandb": False, "wandb_log_all": True, "save_artifacts": False, "wandb_resume": False,
    }  # fmt: skip
    assert {key: base_values()[key] for key in theirs} == theirs


def test_faces_umd_is_the_example_of_a_blog_for_insightface_users():
    cfg = load("faces_umd_mbf")
    assert (cfg.network, cfg.margin_list, cfg.embedding_size, cfg.sample_rate) == ("mbf", (1.0, 0.0, 0.4), 512, 1.0)
    assert (cfg.fp16, cfg.momentum, cfg.weight_decay, cfg.batch_size, cfg.lr) == (True, 0.9, 1e-4, 128, 0.1)
    assert (cfg.verbose, cfg.dali, cfg.num_classes, cfg.num_epoch, cfg.warmup_epoch) == (2000, False, 8277, 20, 0)
    assert cfg.val_targets == ("lfw", "cfp_fp", "agedb_30")
    # The blog repeats the number of identities here; there are many more images, and the record file counts them.
    assert cfg.num_image is None


def test_base_runs_as_soon_as_it_has_data():
    with pytest.raises(ConfigError, match="rec is not set"):
        load("base")
    assert load("base", "rec=/data/faces").rec == "/data/faces"


def test_base_and_the_dataclass_have_the_same_keys_in_the_same_order():
    assert list(base_values()) == FIELDS


def test_every_key_of_base_is_assigned_once_and_documented():
    lines = (CONFIGS / "base.py").read_text().splitlines()
    assigned = [
        (n, line.split(" = ")[0][len("config.") :]) for n, line in enumerate(lines) if line.startswith("config.")
    ]
    assert [key for _, key in assigned] == FIELDS
    for number, key in assigned:
        above = number - 1
        while lines[above].startswith("config."):  # a comment may speak for the two or three keys below it
            above -= 1
        assert lines[above].startswith("# "), f"{key} has no comment above it"
        assert not lines[above].startswith("# ----"), f"{key} has a heading above it, but no comment"
        assert number - above <= 2, f"{key} is too far from its comment"


@pytest.mark.parametrize("name", [*EXPERIMENTS, "base"])
def test_docstrings_name_the_command_that_runs_the_file(name):
    text = docstring(name)
    command = re.search(rf"(torchrun|python) [^(]*launch/train\.py configs/{re.escape(name)}\.py", text)
    assert command, text
    assert len(text.splitlines()[0]) <= 120


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_docstrings_state_paper_expected_figure_and_cost(name):
    text = docstring(name)
    for heading in ("Paper", "Command", "Expected", "Cost"):
        assert re.search(rf"^{heading}  ", text, re.MULTILINE), f"{name}: no {heading}"
    assert re.search(r"\(arXiv:\d{4}\.\d{5}\)", text)
    assert re.search(
        r"^Expected   (IJB-C \d\d\.\d\d at 1e-4, \d\d\.\d\d at 1e-5; MFR-ALL \d\d\.\d\d|no published)", text, re.M
    )


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_derived_hours_follow_from_the_published_rate(name):
    text = docstring(name)
    published = re.search(r"^Cost +([\d,]+) images/s", text, re.MULTILINE)
    if published is None:
        assert "no published rate" in text
        assert "derived" not in text
        return
    cfg = load(name)
    hours = cfg.num_image * cfg.num_epoch / int(published[1].replace(",", "")) / 3600
    assert f"derived: {hours:.1f} h for {cfg.num_epoch:g} epochs" in text


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_commands_start_the_number_of_gpus_that_the_name_says(name):
    text = docstring(name)
    nodes = int((re.search(r"--nnodes=(\d+)", text) or [0, 1])[1])
    per_node = int((re.search(r"--nproc_per_node=(\d+)", text) or [0, 1])[1])
    named = re.search(r"(\d+)gpus?(_|$)", name)
    unnamed = 1 if name.endswith("onegpu") else 2 if name in DEMOS else 64 if name.endswith("vit_h") else 8
    assert nodes * per_node == (int(named[1]) if named else unnamed)


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_files_state_only_what_differs(name):
    tree = ast.parse((CONFIGS / f"{name}.py").read_text())
    own = [
        (node.targets[0].attr, ast.literal_eval(node.value))
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Attribute)
    ]
    said_for_clarity = {"network", "num_epoch", "weight_decay"}
    repeated = [key for key, value in own if base_values()[key] == value and key not in said_for_clarity]
    assert not repeated
    start = next(node.value.args for node in tree.body if isinstance(node, ast.Assign))  # of `config = edict(...)`
    shared = (vars(datasets) | vars(recipes))[start[0].id] if start else {}
    assert not [key for key, value in own if shared.get(key, "absent") == value]


KEPT = [
    *("optimizer", "lr", "momentum", "weight_decay", "decay_norms", "schedule", "margin_list", "scale"),
    *("margin_gradient", "sample_rate", "interclass_filtering_threshold", "embedding_size", "dropout"),
    *("loss", "sub_centers", "magface_lambda_g", "lazy", "centers", "head_mode", "head_operands"),
    *("gradient_checkpointing", "ema_decay", "max_grad_norm", "seed", "flip", "augment", "dali_aug"),
]


@pytest.mark.parametrize("name", [*EXPERIMENTS, "base"])
def test_every_experiment_has_a_tiny_twin(name):
    real = load(name, "rec=/data/faces") if name == "base" else load(name)
    tiny = load(name, "tiny=True")
    assert {key: getattr(tiny, key) for key in KEPT} == {key: getattr(real, key) for key in KEPT}
    family = re.match(r"r|mbf|vit", real.network)[0]
    assert tiny.network == f"{family}_tiny"
    assert (tiny.rec, tiny.val_targets, tiny.val_dir) == ("synthetic", ("synthetic",), None)
    assert (tiny.num_classes, tiny.num_image, tiny.max_steps, tiny.num_epoch) == (20, 200, 4, 1)
    assert tiny.batch_size <= 8
    assert tiny.gradient_acc == min(2, real.gradient_acc)
    assert tiny.warmup_epoch == pytest.approx(real.warmup_epoch / real.num_epoch)
    assert tiny.precision_used == "fp32"
    assert not any((tiny.dali, tiny.using_wandb, tiny.compile))
    assert (tiny.device, tiny.threads) == ("auto", 1)
    assert tiny.output_dir == Path("work_dirs") / f"tiny_{name}"


def test_a_tiny_twin_keeps_bf16_and_drops_fp16(tmp_path):
    for precision, kept in (("bf16", "bf16"), ("fp16", "fp32")):
        path = tmp_path / "mine.py"
        path.write_text(f"config = dict(rec='faces', precision={precision!r}, tiny=True)\n")
        assert load_config(path).precision_used == kept


def test_a_tiny_twin_obeys_the_command_line():
    tiny = load("glint360k_r50", "tiny=True", "precision=bf16", "max_steps=2", "output=here", "batch_size=3")
    assert (tiny.precision_used, tiny.max_steps, str(tiny.output_dir), tiny.batch_size) == ("bf16", 2, "here", 3)


@pytest.mark.parametrize("network", ["r_tiny", "mbf_tiny", "vit_tiny"])
def test_twins_are_networks_that_can_be_built(network):
    assert sum(parameter.numel() for parameter in build_backbone(network).parameters()) < 2_000_000
