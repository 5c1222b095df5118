"""Every setting of a parsing run and its default; the command line (commands/train.py) has them by the same names."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from generation.precision import AMP_DTYPES, AUTO
from generation.settings import REQUEUE, require_below_1, require_choices, require_least, require_positive
from recognition.errors import InputError

OF_THE_MODEL = ("width", "enlarge")
OPTIMIZERS = ("sgd", "adamw")
CHOICES = {"optimizer": OPTIMIZERS, "amp_dtype": AMP_DTYPES, "requeue": REQUEUE}
_AT_LEAST_1 = ("image_size", "width", "enlarge", "batch_size", "steps", "eval_every", "log_every", "num_workers")
_NOT_NEGATIVE = ("warmup_steps", "weight_decay", "threads", "cache_mb", "seed")


@dataclass(frozen=True)
class ParsingConfig:
    """See `python launch/parsing.py train -h`; InputError for values that cannot be.

    The defaults are how the published parser was trained: 512 pixels, 16 pictures a step on each of its GPUs, SGD with
    a momentum of 0.9, 0.01 falling by (1 - step / steps)^0.9 after 1000 steps of warm-up, the heads ten times as fast.
    """

    data_dir: Path = Path("data/celebamask")
    masks: Path | None = None
    test_size: int | None = None
    image_size: int = 512

    width: int = 64
    enlarge: int = 1

    batch_size: int = 16
    steps: int = 80_000
    optimizer: str = "sgd"
    lr: float = 1e-2
    head_lr_factor: float = 10.0
    momentum: float = 0.9
    weight_decay: float = 5e-4
    warmup_steps: int = 1000
    power: float = 0.9
    plain: bool = False
    seed: int = 0

    use_amp: bool = False
    amp_dtype: str = AUTO
    resume: str | None = None
    save_dir: Path = Path("runs/parsing")
    log_dir: Path | None = None
    eval_every: int = 2000
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
        require_positive(self, ("lr", "head_lr_factor", "power"))
        require_below_1(self, ("momentum",))
        if self.warmup_steps >= self.steps:
            raise InputError(f"--warmup_steps {self.warmup_steps}: must be below --steps {self.steps}")

    @property
    def logs(self) -> Path:
        """TensorBoard's folder."""
        return self.save_dir / "logs" if self.log_dir is None else self.log_dir

    def rate_factor(self, step: int) -> float:
        """What the learning rates are multiplied with at a step, from 0: rises linearly, then falls by a power."""
        if step < self.warmup_steps:
            return (step + 1) / self.warmup_steps
        left = 1 - (step - self.warmup_steps) / (self.steps - self.warmup_steps)
        return left**self.power

    def as_plain(self) -> dict[str, Any]:
        """All settings as JSON has them."""
        return {key: str(v) if isinstance(v, Path) else v for key, v in dataclasses.asdict(self).items()}
