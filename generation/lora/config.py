"""One frozen, typed, validated LoraConfig out of configs/lora_base.py, a config file and `key=value` arguments."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, get_type_hints

from generation.identity.comparison import ALIGN_MODES, GEN_FACE_SOURCES
from recognition.backbones import require_known
from recognition.checkpoint.manifest import parsed_json
from recognition.config.layers import read_layers
from recognition.config.rules import (
    ABOVE_0,
    AT_LEAST_0,
    AT_LEAST_1,
    BELOW_1,
    CHOICES,
    RANGES,
    Rule,
    broken_by_one_value,
)
from recognition.config.source import CONFIGS_DIR, ConfigError, read_config_file
from recognition.config.types import typed_values
from recognition.errors import InputError

BASE, DOCUMENTED = CONFIGS_DIR / "lora_base.py", "configs/lora_base.py"
DIFFERENTIABLE = "differentiable"

# What says where and how a run works, what it shows and keeps, and not what it learns.
_NOT_HASHED = """
    data cache output device threads collective_timeout_s resume checkpoint_steps checkpoint_minutes checkpoint_keep
    checkpoint_keep_every checkpoint_error restart_limit requeue max_bad_steps agreement_steps frequent
    using_tensorboard notes using_wandb wandb_key wandb_entity wandb_project suffix_run_name on_bad_row root
    held_out_recogniser monitor_every monitor_samples monitor_gap sample_every num_samples sample_steps
"""
NOT_HASHED = frozenset(_NOT_HASHED.split())
# What a resume may change as well: how a step's samples are shared out, and what costs memory or time.
FREE = NOT_HASHED | {"batch_size", "gradient_acc", "gradient_checkpointing", "vae_checkpointing", "init", "max_steps"}

_CHOICES = {
    "on_bad_row": ("raise", "skip"),
    "face_align_mode": ALIGN_MODES,
    "face_loss_type": (DIFFERENTIABLE,),
    "gen_face_source": GEN_FACE_SOURCES,
    "optimizer": CHOICES["optimizer"],
    "schedule": ("constant", "cosine", "polynomial"),
    "precision": ("fp32", "bf16", "fp16"),
    "vae_precision": ("fp32", "bf16"),
    **{key: CHOICES[key] for key in ("resume", "checkpoint_error", "requeue")},
}
_SAME = """
    lr momentum weight_decay max_grad_norm seed threads collective_timeout_s checkpoint_steps checkpoint_minutes
    checkpoint_keep checkpoint_keep_every restart_limit max_bad_steps agreement_steps frequent gradient_acc
"""
_RANGES: dict[str, Rule] = {
    **{key: RANGES[key] for key in _SAME.split()},
    "image_size": AT_LEAST_1,
    "prompt_tokens": AT_LEAST_1,
    "rank": AT_LEAST_1,
    "alpha": ABOVE_0,
    "target_modules": (lambda v: len(v) > 0, "names no layer; to_q,to_k,to_v,to_out.0 is usual"),
    "face_loss_weight": AT_LEAST_0,
    "face_max_t": (lambda v: 0 < v <= 1, "must lie in (0, 1]; 1 looks at all predictions"),
    "face_weight_over_t": AT_LEAST_0,
    "unrolled_steps": AT_LEAST_1,
    "monitor_every": AT_LEAST_0,
    "monitor_samples": AT_LEAST_1,
    "monitor_gap": ABOVE_0,
    "sample_every": AT_LEAST_0,
    "num_samples": AT_LEAST_1,
    "sample_steps": AT_LEAST_1,
    "batch_size": AT_LEAST_1,
    "max_steps": AT_LEAST_1,
    "warmup_steps": AT_LEAST_0,
    "t_std": AT_LEAST_0,
    "guidance_scale": AT_LEAST_0,
    "momentum": BELOW_1,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class LoraConfig:
    """Everything a LoRA run depends on; configs/lora_base.py says what each field means, its unit and its default.

    ConfigError when the values contradict each other.
    """

    data: str | None
    image_size: int
    on_bad_row: str
    cache: str | None

    transformer: str | None
    vae: str | None
    text_encoders: str | None
    prompt_tokens: int
    guidance_scale: float

    rank: int
    alpha: float | None
    target_modules: tuple[str, ...]
    init: str | None

    use_face_loss: bool
    face_loss_weight: float
    face_align_mode: str
    face_loss_type: str
    arcface_weights: str | None
    arcface_model: str
    face_max_t: float
    face_weight_over_t: float
    gen_face_source: str
    unrolled_steps: int
    vae_checkpointing: bool
    face_window: bool
    detector: str
    root: str | None

    held_out_recogniser: str | None
    monitor_every: int
    monitor_samples: int
    monitor_gap: float
    sample_every: int
    num_samples: int
    sample_steps: int

    batch_size: int
    gradient_acc: int
    gradient_checkpointing: bool
    optimizer: str
    lr: float
    momentum: float
    weight_decay: float
    max_grad_norm: float
    max_steps: int
    warmup_steps: int
    schedule: str
    t_mean: float
    t_std: float
    seed: int

    precision: str
    vae_precision: str

    device: str
    threads: int
    collective_timeout_s: float

    resume: bool | str
    checkpoint_steps: int
    checkpoint_minutes: float
    checkpoint_keep: int
    checkpoint_keep_every: int
    checkpoint_error: str
    restart_limit: int
    requeue: str
    max_bad_steps: int
    agreement_steps: int

    frequent: int
    output: str | None
    using_tensorboard: bool
    notes: str | None
    using_wandb: bool
    wandb_key: str | None
    wandb_entity: str | None
    wandb_project: str
    suffix_run_name: str | None

    def __post_init__(self) -> None:
        for key, problem in _broken_rules(self):
            raise ConfigError(problem, key=key)

    @property
    def output_dir(self) -> Path:
        """Folder of the run."""
        return Path(self.output or "work_dirs/unnamed")

    @property
    def cache_dir(self) -> Path:
        """Folder of what is encoded once."""
        return Path(self.cache) if self.cache else Path(self.data).with_suffix(".cache")

    @property
    def lora_alpha(self) -> float:
        """The numerator of the factor on the adapter's product."""
        return float(self.rank) if self.alpha is None else self.alpha

    @property
    def checkpoint_keep_best(self) -> bool:
        """No checkpoint is the best one: there is no score that would say so."""
        return False


def load_lora_config(path: str | Path, overrides: Sequence[str] = ()) -> LoraConfig:
    """The config in the file `path`, on top of configs/lora_base.py and below `key=value` arguments.

    Runs the file: configs are code. ConfigError (one line: where, key, what to do) for an unknown key, a wrong type or
    values that contradict each other.
    """
    layers = read_layers(path, overrides, get_type_hints(LoraConfig), documented=DOCUMENTED)
    values = {**_base_values(), **layers.from_file, **layers.commands}
    values["output"] = values["output"] or layers.default_output
    return layers.build(LoraConfig, values)


def config_of_run(run_dir: Path) -> LoraConfig:
    """The config of a run that began, as its folder has it; InputError where there is none."""
    path = run_dir / "config.json"
    try:
        values = parsed_json(path.read_bytes())
    except (OSError, ValueError) as error:
        raise InputError(f"{run_dir} is no run of launch/lora.py: {path} cannot be read ({error})") from error
    return LoraConfig(**typed_values(values, get_type_hints(LoraConfig), str(path), documented=DOCUMENTED))


def base_values() -> dict[str, Any]:
    """The defaults of configs/lora_base.py in the types of LoraConfig."""
    return dict(_base_values())


@cache
def _base_values() -> dict[str, Any]:
    return typed_values(read_config_file(BASE), get_type_hints(LoraConfig), str(BASE), documented=DOCUMENTED)


def _broken_rules(cfg: LoraConfig) -> Iterator[tuple[str, str]]:
    """Every rule that `cfg` breaks, as the key at fault and a sentence that names the fix."""
    if cfg.face_loss_type == "arcface":
        yield "face_loss_type", "face_loss_type='arcface' has no gradient; name that model in held_out_recogniser"
    yield from broken_by_one_value(cfg, _CHOICES, {"arcface_model": require_known}, _RANGES)
    for key, what in (
        ("data", "the file with a JSON object for each sample"),
        ("transformer", "a local folder of diffusers, tiny-flux or tiny-sd3"),
        ("vae", "a local folder of diffusers, or tiny"),
    ):
        if not getattr(cfg, key):
            yield key, f"{key} is not set; name {what}"
    if not Path(cfg.data).name:
        yield "data", f"data={cfg.data} is a folder; name the file in it"
    if cfg.warmup_steps > cfg.max_steps:
        yield "warmup_steps", f"warmup_steps={cfg.warmup_steps} is more than max_steps={cfg.max_steps}; lower it"
    if cfg.use_face_loss and not cfg.arcface_weights:
        yield (
            "arcface_weights",
            "use_face_loss=True needs a trained recogniser: set arcface_weights to a run of launch/train.py, one of "
            "its files, or arcface_torch's backbone.pth",
        )
    if cfg.held_out_recogniser and cfg.monitor_every and not cfg.arcface_weights:
        yield (
            "held_out_recogniser",
            "held_out_recogniser is compared with the recogniser of arcface_weights, which is not set; set it "
            "(use_face_loss may stay False), or leave held_out_recogniser out",
        )
