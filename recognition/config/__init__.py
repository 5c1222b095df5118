"""One frozen, typed, validated TrainConfig out of configs/base.py, a config file and `key=value` arguments."""

from __future__ import annotations

import dataclasses
import json
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, get_type_hints

from recognition.config.layers import read_layers
from recognition.config.rules import broken_rules
from recognition.config.source import CONFIGS_DIR, ConfigError, read_config_file
from recognition.config.tiny import shrink
from recognition.config.types import DOCUMENTED, masked, typed_values
from recognition.data.augment import ARCFACE_TORCH, Augmentation, parse_augment

__all__ = ["ConfigError", "TrainConfig", "config_json", "describe_config", "load_config", "without_effect"]

BASE = CONFIGS_DIR / "base.py"

# Accepted because arcface_torch's files have them; whoever sets one learns that nothing comes of it.
NO_EFFECT_YET = {
    "save_all_states": "it needs none, every checkpoint has optimizer and class centres of all ranks",
    "save_artifacts": "nothing is uploaded to wandb but numbers",
    "wandb_resume": "every run is a new one in wandb",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainConfig:
    """Everything a training run depends on; configs/base.py says what each field means, its unit and its default.

    ConfigError when the values contradict each other; secrets do not show in `repr`.
    """

    rec: str | tuple[str, ...] | None
    rec_labels: str
    image_column: str | None
    label_column: str | None
    num_classes: int | None
    num_image: int | None
    image_size: int
    flip: bool
    augment: tuple[str, ...]
    label_noise: str | None
    dali: bool
    dali_aug: bool
    num_workers: int
    prefetch_batches: int
    data_timeout_s: float
    on_bad_record: str
    bad_record_share: float

    network: str
    embedding_size: int
    dropout: float
    gradient_checkpointing: bool

    loss: str
    scale: float
    margin_list: tuple[float, float, float]
    margin_gradient: str
    interclass_filtering_threshold: float
    sub_centers: int
    adaface_m: float
    adaface_h: float
    adaface_t_alpha: float
    magface_norms: tuple[float, float]
    magface_margins: tuple[float, float]
    magface_lambda_g: float
    curricularface_m: float
    curricularface_t_alpha: float
    uniface_m: float
    uniface_lambda: float

    sample_rate: float
    lazy: str
    centers: str
    head_mode: str
    head_operands: str

    batch_size: int
    gradient_acc: int
    optimizer: str
    lr: float
    momentum: float
    weight_decay: float
    decay_norms: bool
    num_epoch: float
    warmup_epoch: float
    schedule: str
    max_grad_norm: float
    ema_decay: float
    max_steps: int | None
    seed: int

    precision: str | None
    fp16: bool
    compile: bool

    device: str
    threads: int
    collective_timeout_s: float

    resume: bool | str
    checkpoint_steps: int
    checkpoint_minutes: float
    checkpoint_keep: int
    checkpoint_keep_every: int
    checkpoint_keep_best: bool
    checkpoint_error: str
    restart_limit: int
    requeue: str

    init: str | None
    class_map: str | None
    freeze: tuple[str, ...]
    thaw_epoch: float | None
    lr_factors: tuple[str, ...]

    max_bad_steps: int
    spike_factor: float
    agreement_steps: int

    val_targets: tuple[str, ...]
    val_dir: str | None
    val_batch_size: int
    verbose: int
    frequent: int
    output: str | None
    using_tensorboard: bool
    export_onnx: bool
    save_all_states: bool
    notes: str | None

    using_wandb: bool
    wandb_key: str | None
    wandb_entity: str | None
    wandb_project: str
    suffix_run_name: str | None
    wandb_log_all: bool
    save_artifacts: bool
    wandb_resume: bool

    tiny: bool

    def __post_init__(self) -> None:
        for key, problem in broken_rules(self, base_values()):
            raise ConfigError(problem, key=key)

    def __repr__(self) -> str:
        return f"TrainConfig({', '.join(f'{key}={value!r}' for key, value in _shown(self).items())})"

    @property
    def precision_used(self) -> str:
        """`fp32`, `bf16` or `fp16`: what the body of the backbone computes in."""
        return self.precision or ("fp16" if self.fp16 else "fp32")

    @property
    def augmentations(self) -> tuple[Augmentation, ...]:
        """What `augment` and `dali_aug` ask for, in the order in which it is applied."""
        return parse_augment([*(ARCFACE_TORCH if self.dali_aug else ()), *self.augment])

    @property
    def output_dir(self) -> Path:
        """Folder of the run."""
        return Path(self.output or "work_dirs/unnamed")


def load_config(path: str | Path, overrides: Sequence[str] = ()) -> TrainConfig:
    """The config in the file `path`, on top of configs/base.py and below `key=value` arguments.

    Runs the file: configs are code. ConfigError (one line: where, key, what to do) for an unknown key, a wrong type or
    values that contradict each other.
    """
    layers = read_layers(path, overrides, get_type_hints(TrainConfig), documented=DOCUMENTED)
    values = _overlaid(_overlaid(base_values(), layers.from_file), layers.commands)
    values["output"] = values["output"] or layers.default_output
    if values["tiny"]:
        values = _overlaid(shrink(values), layers.commands)
    return layers.build(TrainConfig, values)


def base_values() -> dict[str, Any]:
    """The defaults of configs/base.py in the types of TrainConfig."""
    return dict(_base_values())


def config_json(cfg: Any) -> str:
    """The config, a dataclass, as JSON, secrets masked."""
    return json.dumps(_shown(cfg), indent=2) + "\n"


def without_effect(cfg: TrainConfig) -> list[str]:
    """A sentence for each value that is accepted for arcface_torch's sake and does nothing."""
    return [
        f"{key}={getattr(cfg, key)} has no effect yet: {why}" for key, why in NO_EFFECT_YET.items() if getattr(cfg, key)
    ]


def describe_config(cfg: Any, base: Mapping[str, Any] | None = None, documented: str = DOCUMENTED) -> str:
    """The config for a reader: a line for each value that differs from configs/base.py, the rest run together below.

    `base` are the defaults of another kind of run, and `documented` the file that they are in.
    """
    shown, base = _shown(cfg), base_values() if base is None else base
    changed = [key for key in shown if getattr(cfg, key) != base[key]]
    width = max(map(len, changed), default=0)
    lines = [f"  {key:<{width}}  {_text(shown[key])}" + f"  (default {_text(base[key])})" for key in changed]
    rest = ", ".join(f"{key}={_text(value)}" for key, value in shown.items() if key not in changed)
    defaults = textwrap.fill(rest, 116, initial_indent="  ", subsequent_indent="  ", break_on_hyphens=False)
    return "\n".join([f"config, where it differs from {documented}:", *lines, f"as in {documented}:", defaults])


@cache
def _base_values() -> dict[str, Any]:
    return typed_values(read_config_file(BASE), get_type_hints(TrainConfig), str(BASE))


def _overlaid(below: Mapping[str, Any], layer: Mapping[str, Any]) -> dict[str, Any]:
    """`layer` on top of `below`, with arcface_torch's ways to say "none" undone.

    `precision` and `fp16` are two spellings of one choice: a layer that has only one of them overrules both below it.
    """
    values = {**below, **layer}
    if layer.get("precision") is not None and "fp16" not in layer:
        values["fp16"] = layer["precision"] == "fp16"
    elif "fp16" in layer and "precision" not in layer and (layer["fp16"] or below["precision"] == "fp16"):
        values["precision"] = None
    if values["warmup_epoch"] == -1:
        values["warmup_epoch"] = 0.0
    if values["wandb_key"] is not None and not values["wandb_key"].strip("X"):
        values["wandb_key"] = None
    return values


def _shown(cfg: Any) -> dict[str, Any]:
    """The fields by name, secrets masked."""
    return {field.name: masked(field.name, getattr(cfg, field.name)) for field in dataclasses.fields(cfg)}


def _text(value: Any) -> str:
    if isinstance(value, tuple):
        return f"({', '.join(_text(item) for item in value)})"
    return f"{value:g}" if isinstance(value, float) else str(value)
