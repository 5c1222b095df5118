"""Every setting of a pose-control run and its default; the command line (arguments.py) has them by the same names."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from generation.posecontrol.control_net import BATCH, LAYER, SPATIAL, VECTOR
from generation.posecontrol.encoders import RECOGNISER
from generation.posecontrol.losses import LOSS_TYPES, MSE, POSE_LOSSES
from generation.precision import AMP_DTYPES, AUTO, amp_precision
from generation.settings import REQUEUE, require_choices, require_least, require_positive
from recognition.errors import InputError

# What a model is made of: a checkpoint can be gone on with only as what it is.
OF_THE_MODEL = (
    *("image_size", "feature_dim", "pose_dim", "num_control_layers", "encoder"),
    *("generator", "generator_width", "proj_norm"),
)
CHOICES = {
    "loss_type": LOSS_TYPES,
    "pose_loss": POSE_LOSSES,
    "generator": (SPATIAL, VECTOR),
    "proj_norm": (BATCH, LAYER),
    "amp_dtype": AMP_DTYPES,
    "requeue": REQUEUE,
}
_AT_LEAST_1 = (
    *("batch_size", "image_size", "feature_dim", "num_control_layers", "epochs", "gradient_accumulation_steps"),
    *("save_interval", "generator_width", "max_val_pairs", "log_every"),
)
_NOT_NEGATIVE = (
    *("num_workers", "weight_decay", "pose_loss_weight", "l1_weight", "identity_loss_weight", "threads", "cache_mb"),
    *("min_angle_diff",),
)


@dataclass(frozen=True)
class PoseControlConfig:
    """See `python launch/controlnet.py -h`; InputError for values that cannot be."""

    data_dir: Path
    image_dir: Path | None = None
    batch_size: int = 16
    num_workers: int = 4
    image_size: int = 112

    feature_dim: int = 512
    pose_dim: int = 3
    num_control_layers: int = 3
    freeze_generator: bool = False

    epochs: int = 100
    lr: float = 1e-4
    weight_decay: float = 1e-5
    pose_loss_weight: float = 0.1
    loss_type: str = MSE

    use_amp: bool = False
    gradient_accumulation_steps: int = 1
    resume: str | None = None
    save_dir: Path = Path("checkpoints_image")
    log_dir: Path = Path("logs_image")
    save_interval: int = 10

    encoder: str = RECOGNISER
    recogniser: str | None = None
    encoder_weights: str | None = None
    strict_encoder: bool = False
    finetune_backbone: bool = False
    generator: str = SPATIAL
    generator_width: int = 32
    proj_norm: str = BATCH
    pose_loss: str = MSE
    l1_weight: float = 1.0
    identity_loss_weight: float = 0.0
    identity_recogniser: str | None = None
    reconstruct: bool = False
    new_stage: bool = False
    amp_dtype: str = AUTO
    min_angle_diff: float = 5.0
    max_angle_diff: float = 90.0
    legacy_pose_order: bool = False
    max_val_pairs: int = 512
    cache_mb: int = 1024
    seed: int = 0
    device: str = AUTO
    threads: int = 0
    log_every: int = 50
    requeue: str = "usr1"
    data_timeout_s: float = 300.0
    collective_timeout_s: float = 120.0

    def __post_init__(self) -> None:
        require_choices(self, CHOICES)
        require_least(self, _AT_LEAST_1, 1)
        require_least(self, _NOT_NEGATIVE, 0)
        require_positive(self, ("lr",))
        if not self.min_angle_diff < self.max_angle_diff <= 180:
            raise InputError(
                f"--min_angle_diff {self.min_angle_diff} --max_angle_diff {self.max_angle_diff}: the first must be "
                "smaller, and the second at most 180"
            )
        if self.reconstruct and self.freeze_generator:
            raise InputError("--reconstruct trains the generator, which --freeze_generator forbids; leave one out")

    def precision(self, device: torch.device) -> str:
        """fp32, bf16 or fp16, as `use_amp` and `amp_dtype` say."""
        return amp_precision(self.amp_dtype, device, use_amp=self.use_amp)

    def as_plain(self) -> dict[str, Any]:
        """All settings as JSON has them."""
        return {key: str(v) if isinstance(v, Path) else v for key, v in dataclasses.asdict(self).items()}


def model_arguments(settings: dict[str, Any]) -> dict[str, Any]:
    """What `ImageControlNet` is built with, of settings as `as_plain` gives them."""
    same = ("feature_dim", "pose_dim", "image_size", "num_control_layers", "freeze_generator", "encoder")
    more = ("recogniser", "encoder_weights", "strict_encoder", "generator", "generator_width", "proj_norm")
    return {
        **{key: settings[key] for key in (*same, *more)},
        "freeze_backbone": not settings["finetune_backbone"],
    }
