"""What a config must satisfy beyond types: ranges, choices, and pairs of values that contradict each other."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from recognition.backbones import require_known
from recognition.data.augment import ARCFACE_TORCH, parse_augment
from recognition.data.label_noise import parse_noise
from recognition.data.sources.drawn import DRAWN
from recognition.errors import InputError
from recognition.head.losses import LOSSES
from recognition.head.margins import MARGIN_GRADIENTS
from recognition.training.parts import parse_lr_factors

if TYPE_CHECKING:
    from recognition.config import TrainConfig

CHOICES: dict[str, tuple[str | bool | None, ...]] = {
    "rec_labels": ("shared", "apart"),
    "on_bad_record": ("raise", "skip"),
    "optimizer": ("sgd", "adamw"),
    "schedule": ("polynomial", "cosine"),
    "loss": tuple(LOSSES),
    "margin_gradient": MARGIN_GRADIENTS,
    "precision": (None, "fp32", "bf16", "fp16"),
    "lazy": ("exact", "skip"),
    "head_mode": ("auto", "keep", "recompute"),
    "head_operands": ("auto", "fp32", "tf32", "bf16"),
    "resume": ("auto", True, False),
    "checkpoint_error": ("continue", "stop"),
    "requeue": ("usr1", "always", "never"),
}

# Losses that are known by names of their own and are one here.
COMBINED = {
    "softmax": "margin_list=(1.0, 0.0, 0.0)",
    "arcface": "margin_list=(1.0, 0.5, 0.0)",
    "cosface": "margin_list=(1.0, 0.0, 0.4)",
    "sphereface": "margin_list=(1.35, 0.0, 0.0)",
}

# Keys that only these losses read; besides, those that begin with the name of a loss.
READ_BY = {
    "margin_list": ("combined", "subcenter_arcface"),
    "margin_gradient": ("combined", "subcenter_arcface"),
    "interclass_filtering_threshold": ("combined", "subcenter_arcface"),
    "sub_centers": ("subcenter_arcface",),
}

Rule = tuple[Callable[[Any], bool], str]
AT_LEAST_1: Rule = (lambda v: v >= 1, "must be at least 1")
AT_LEAST_0: Rule = (lambda v: v >= 0, "must not be negative")
ABOVE_0: Rule = (lambda v: v > 0, "must be above 0")
BELOW_1: Rule = (lambda v: 0 <= v < 1, "must lie in [0, 1)")
SHARE: Rule = (lambda v: 0 < v <= 1, "must lie in (0, 1]; 0.01 is usual")

# Values of None are left out: where None is allowed it means "decided later".
RANGES: dict[str, Rule] = {
    "num_classes": (lambda v: v >= 2, "must be at least 2; leave it out to take it from the data"),
    "num_image": (lambda v: v >= 1, "must be at least 1; leave it out to take it from the data"),
    "image_size": (lambda v: v >= 16, "must be at least 16 (pixels); published networks take 112"),
    "num_workers": AT_LEAST_0,
    "prefetch_batches": AT_LEAST_1,
    "data_timeout_s": ABOVE_0,
    "bad_record_share": (lambda v: 0 <= v < 1, "must lie in [0, 1); 0.0001 is 1 in 10,000"),
    "embedding_size": AT_LEAST_1,
    "dropout": BELOW_1,
    "scale": ABOVE_0,
    "sample_rate": (lambda v: 0 < v <= 1, "must lie in (0, 1]; 1 computes with every class centre"),
    "interclass_filtering_threshold": (lambda v: 0 <= v <= 1, "must lie in [0, 1]; 0 turns the filter off"),
    "sub_centers": (lambda v: v >= 1, "must be at least 1; 3 is usual"),
    "adaface_m": (lambda v: 0 <= v <= math.pi / 2, "must lie in [0, pi / 2]; 0.4 is usual"),
    "adaface_h": ABOVE_0,
    "adaface_t_alpha": SHARE,
    "magface_norms": (lambda v: 0 < v[0] < v[1], "needs 0 < smallest < largest; (10, 110) is usual"),
    "magface_margins": (
        lambda v: 0 <= v[0] <= v[1] <= math.pi,
        "needs 0 <= smallest <= largest <= pi; (0.45, 0.8) is usual",
    ),
    "magface_lambda_g": AT_LEAST_0,
    "curricularface_m": (lambda v: 0 <= v <= math.pi, "must lie in [0, pi]; 0.5 is usual"),
    "curricularface_t_alpha": SHARE,
    "uniface_m": (lambda v: 0 <= v <= 2, "must lie in [0, 2]; 0.4 is usual"),
    "uniface_lambda": ABOVE_0,
    "centers": (
        lambda v: v in ("memory", "host") or v.removeprefix("mmap:") not in ("", v),
        "is not known; use memory, host or mmap:FOLDER",
    ),
    "batch_size": (lambda v: v >= 2, "must be at least 2: BatchNorm needs two images on each rank"),
    "gradient_acc": AT_LEAST_1,
    "lr": ABOVE_0,
    "momentum": BELOW_1,
    "weight_decay": AT_LEAST_0,
    "num_epoch": ABOVE_0,
    "warmup_epoch": (lambda v: v >= 0, "must not be negative; 0 means no warm-up"),
    "max_grad_norm": (lambda v: v >= 0, "must not be negative; 0 turns clipping off"),
    "ema_decay": BELOW_1,
    "max_steps": (lambda v: v >= 1, "must be at least 1; leave it out to run to the end"),
    "seed": AT_LEAST_0,
    "threads": (lambda v: v >= 0, "must not be negative; 0 shares the machine's cores"),
    "collective_timeout_s": ABOVE_0,
    "checkpoint_steps": AT_LEAST_0,
    "checkpoint_minutes": AT_LEAST_0,
    "checkpoint_keep": AT_LEAST_1,
    "checkpoint_keep_every": AT_LEAST_0,
    "restart_limit": AT_LEAST_1,
    "thaw_epoch": ABOVE_0,
    "max_bad_steps": AT_LEAST_1,
    "spike_factor": (lambda v: v == 0 or v > 1, "must be above 1; 0 turns the log of spikes off"),
    "agreement_steps": AT_LEAST_0,
    "val_batch_size": AT_LEAST_1,
    "verbose": AT_LEAST_1,
    "frequent": AT_LEAST_1,
}


def broken_rules(cfg: TrainConfig, defaults: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Every rule that `cfg` breaks, as the key at fault and a sentence that names the fix.

    `defaults` are the values of configs/base.py: another value means that somebody set the key.
    """
    if cfg.loss in COMBINED:
        yield "loss", f"loss={cfg.loss!r} is spelled loss=combined {COMBINED[cfg.loss]}"
    checks = {
        "network": require_known,
        "augment": parse_augment,
        "label_noise": parse_noise,
        "lr_factors": parse_lr_factors,
    }
    yield from broken_by_one_value(cfg, CHOICES, checks, RANGES)
    yield from _keys_of_other_losses(cfg, defaults)
    yield from _contradictions(cfg)
    yield from _unusable(cfg)


def broken_by_one_value(
    cfg: Any,
    choices: Mapping[str, Sequence[str]],
    checks: Mapping[str, Callable[[Any], object]],
    ranges: Mapping[str, Rule],
) -> Iterator[tuple[str, str]]:
    """What is wrong with values by themselves: not one of the choices, refused by a check, out of range."""
    for key, known in choices.items():
        yield from unknown_choice(key, getattr(cfg, key), known)
    for key, check in checks.items():
        try:
            if getattr(cfg, key) is not None:
                check(getattr(cfg, key))
        except InputError as error:
            yield key, str(error)
    for key, (holds, sentence) in ranges.items():
        value = getattr(cfg, key)
        if value is not None and not holds(value):
            yield key, f"{key}={value} {sentence}"


def unknown_choice(
    key: str, value: str | bool | None, choices: Sequence[str | bool | None]
) -> Iterator[tuple[str, str]]:
    if value not in choices:
        names = [choice for choice in choices if isinstance(choice, str)]
        nearest = difflib.get_close_matches(value, names, n=1, cutoff=0.0)[0]
        yield key, f"{key}={value!r} is not known; did you mean {nearest!r}? Choices: {', '.join(map(str, choices))}"


def _keys_of_other_losses(cfg: TrainConfig, defaults: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for key, default in defaults.items():
        losses = READ_BY.get(key) or tuple(loss for loss in LOSSES if key.startswith(f"{loss}_"))
        if losses and cfg.loss not in losses and getattr(cfg, key) != default:
            yield (
                key,
                f"{key}={getattr(cfg, key)} has no effect with loss={cfg.loss!r}, only with {' or '.join(losses)}; "
                f"set {key}={default} or another loss",
            )


def _contradictions(cfg: TrainConfig) -> Iterator[tuple[str, str]]:
    if cfg.warmup_epoch > cfg.num_epoch:
        yield (
            "warmup_epoch",
            f"warmup_epoch={cfg.warmup_epoch:g} is longer than num_epoch={cfg.num_epoch:g}; lower warmup_epoch",
        )
    if cfg.precision is not None and cfg.fp16 != (cfg.precision == "fp16"):
        yield (
            "precision",
            f"precision={cfg.precision!r} contradicts fp16={cfg.fp16}; keep one of the two, precision says it all",
        )
    if cfg.dali_aug:
        named = {augmentation.name for augmentation in parse_augment(cfg.augment)}
        for augmentation in parse_augment(ARCFACE_TORCH):
            if augmentation.name in named:
                yield (
                    "augment",
                    f"augment names {augmentation.name}, which dali_aug=True does too; set dali_aug=False and name in "
                    f"augment all that you want, dali_aug is {list(ARCFACE_TORCH)}",
                )
    if cfg.class_map is not None and cfg.init is None:
        yield "class_map", "class_map says which centres of init to keep, but init is not set; set init=RUN"
    if cfg.thaw_epoch is not None and not cfg.freeze:
        yield "thaw_epoch", f"thaw_epoch={cfg.thaw_epoch:g}, but nothing is frozen; name parts in freeze"
    if cfg.rec in DRAWN and cfg.num_classes is None:
        yield (
            "num_classes",
            f"rec={cfg.rec!r} has as many identities as you ask for; set num_classes, e.g. num_classes=1000",
        )
    if cfg.rec in DRAWN and cfg.num_image is None:
        yield "num_image", f"rec={cfg.rec!r} has as many images as you ask for; set num_image, e.g. num_image=100000"


def _unusable(cfg: TrainConfig) -> Iterator[tuple[str, str]]:
    if not cfg.rec:
        yield (
            "rec",
            "rec is not set; name the training set: a folder with train.rec, shards, image folders, heads or synthetic",
        )
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", cfg.device):
        yield "device", f"device={cfg.device!r} is not known; use auto, cpu, cuda or cuda:N"
    for target in cfg.val_targets:
        if target.endswith(".bin") or "/" in target:
            yield (
                "val_targets",
                f"val_targets holds {target!r}; give the set's name without folder and .bin, and its folder as val_dir",
            )
