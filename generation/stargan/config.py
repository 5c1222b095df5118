"""Every setting of a StarGAN run and its default; the command line (arguments.py) has them by the same names."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from generation.precision import AMP_DTYPES, AUTO
from generation.settings import REQUEUE, require_below_1, require_choices, require_least, require_positive
from generation.stargan.pictures import LAYOUTS
from recognition.errors import InputError
from recognition.heads.classes import NAMES

# What a model is made of: a checkpoint can be gone on with only as what it is.
OF_THE_MODEL = ("image_size", "g_conv_dim", "d_conv_dim", "g_repeat_num", "d_repeat_num", "residual")
CHOICES = {
    "keep_classes": NAMES,
    "dataset": (AUTO, *LAYOUTS),
    "amp_dtype": AMP_DTYPES,
    "requeue": REQUEUE,
}
_AT_LEAST_1 = (
    *("batch_size", "image_size", "g_conv_dim", "d_conv_dim", "g_repeat_num", "d_repeat_num", "num_epochs"),
    *("n_critic", "save_interval", "sample_interval", "log_every"),
)
_NOT_NEGATIVE = (
    *("num_workers", "lambda_cls", "lambda_rec", "lambda_gp", "lambda_id", "lambda_keep", "threads", "cache_mb"),
    *("seed",),
)


@dataclass(frozen=True)
class StarGANConfig:
    """See `python launch/stargan.py -h`; InputError for values that cannot be."""

    dataset: str = AUTO
    data_dir: Path = Path("data/celeba")
    attr_path: Path | None = None
    selected_attrs: tuple[str, ...] = ("Black_Hair", "Blond_Hair", "Brown_Hair", "Male", "Young")
    crop_size: int | None = None
    test_size: int | None = None
    skip_missing: bool = False

    image_size: int = 256
    g_conv_dim: int = 64
    d_conv_dim: int = 64
    g_repeat_num: int = 6
    d_repeat_num: int = 6
    residual: bool = False

    batch_size: int = 16
    num_epochs: int = 200
    g_lr: float = 1e-4
    d_lr: float = 1e-4
    beta1: float = 0.5
    beta2: float = 0.999
    n_critic: int = 5
    lr_decay_epochs: int | None = None
    ema_decay: float = 0.999
    seed: int = 0

    lambda_cls: float = 1.0
    lambda_rec: float = 10.0
    lambda_gp: float = 10.0
    lambda_id: float = 0.0
    recogniser: str | None = None
    lambda_keep: float = 10.0
    masks: Path | None = None
    keep_classes: tuple[str, ...] = ("background", "neck", "neck_l", "cloth")

    use_amp: bool = False
    amp_dtype: str = AUTO
    resume: str | None = None
    save_dir: Path = Path("checkpoints_stargan")
    log_dir: Path | None = None
    save_interval: int = 10
    sample_interval: int = 1
    log_every: int = 100
    num_workers: int = 4
    cache_mb: int = 1024
    device: str = AUTO
    threads: int = 0
    requeue: str = "usr1"
    data_timeout_s: float = 300.0
    collective_timeout_s: float = 120.0

    def __post_init__(self) -> None:
        require_choices(self, CHOICES)
        require_least(self, _AT_LEAST_1, 1)
        require_least(self, _NOT_NEGATIVE, 0)
        require_positive(self, ("g_lr", "d_lr"))
        require_below_1(self, ("beta1", "beta2", "ema_decay"))
        if self.image_size % 4 or self.image_size < 8:
            raise InputError(f"--image_size {self.image_size}: must be a multiple of 4, from 8 on")
        for key in ("crop_size", "test_size"):
            if getattr(self, key) is not None and getattr(self, key) < (key == "crop_size"):
                raise InputError(f"--{key} {getattr(self, key)}: must be at least {int(key == 'crop_size')}")
        if not self.selected_attrs or len(set(self.selected_attrs)) != len(self.selected_attrs):
            raise InputError(f"--selected_attrs {' '.join(self.selected_attrs)}: name each attribute once")
        if not 0 <= self.decay_epochs <= self.num_epochs:
            raise InputError(f"--lr_decay_epochs {self.lr_decay_epochs}: must be from 0 to --num_epochs")
        if self.lambda_id and self.recogniser is None:
            raise InputError("--lambda_id needs a recogniser to tell people by: --recogniser RUN")

    @property
    def c_dim(self) -> int:
        """How many attributes there are."""
        return len(self.selected_attrs)

    @property
    def decay_epochs(self) -> int:
        """Epochs at the end in which the learning rates fall: the second half, unless told otherwise."""
        return self.num_epochs // 2 if self.lr_decay_epochs is None else self.lr_decay_epochs

    @property
    def logs(self) -> Path:
        """TensorBoard's folder."""
        return self.save_dir / "logs" if self.log_dir is None else self.log_dir

    def as_plain(self) -> dict[str, Any]:
        """All settings as JSON has them."""
        plain = {key: str(v) if isinstance(v, Path) else v for key, v in dataclasses.asdict(self).items()}
        return {key: list(value) if isinstance(value, tuple) else value for key, value in plain.items()}


def read_settings(path: Path) -> dict[str, Any]:
    """The settings of a YAML file by their flags' names, in whatever sections; InputError for one that is not known."""
    try:
        import yaml
    except ImportError as error:
        raise InputError("--config needs PyYAML: pip install -e '.[generation]'") from error
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"--config {path} cannot be read ({error.strerror})") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"--config {path} is no YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, Mapping):
        raise InputError(f"--config {path}: expected sections such as model, training and loss")
    known = {field.name: field for field in dataclasses.fields(StarGANConfig)}
    settings: dict[str, Any] = {}
    for section, value in content.items():
        flat = value.items() if isinstance(value, Mapping) else [(section, value)]
        for name, entry in flat:
            if name not in known:
                near = get_close_matches(str(name), known, n=1)
                hint = f"; did you mean {near[0]}?" if near else "; `python launch/stargan.py -h` has all"
                raise InputError(f"--config {path}: {name} is no setting{hint}")
            if name in settings:
                raise InputError(f"--config {path}: {name} is there twice")
            settings[name] = _typed(entry, known[name], path)
    return settings


def _typed(value: Any, field: dataclasses.Field, path: Path) -> Any:
    """A value of YAML's as the field has it; YAML reads 1e-4 as text."""
    wrong = InputError(f"--config {path}: {field.name}: {value!r} is not what it takes ({field.type})")
    if value is None:
        if "None" in field.type:
            return None
        raise wrong
    if "tuple" in field.type:
        if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
            raise wrong
        return tuple(value)
    if field.type == "bool" or isinstance(value, (bool, list, dict)):
        if field.type == "bool" and isinstance(value, bool):
            return value
        raise wrong
    kind = next(
        kind for word, kind in (("Path", Path), ("int", int), ("float", float), ("str", str)) if word in field.type
    )
    try:
        typed = kind(value)
    except (TypeError, ValueError, OverflowError):
        raise wrong from None
    if kind is int and float(value) != typed:
        raise wrong
    return typed
