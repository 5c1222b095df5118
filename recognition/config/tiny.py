"""The tiny twin of an experiment: the same recipe on a toy network and a handful of synthetic identities."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from recognition.backbones import tiny_twin


def shrink(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a config whose run takes seconds on a CPU; what makes the experiment its own is kept.

    Kept: optimizer, learning rate, weight decay, schedule, warm-up as a share of the run, margins, sample rate, filter,
    accumulation (two micro-steps stand for more), gradient checkpointing, EMA, augmentation, bf16.
    """
    warmup_share = values["warmup_epoch"] / values["num_epoch"] if values["num_epoch"] else 0.0
    bf16 = values["precision"] == "bf16"
    return {
        **values,
        "network": tiny_twin(values["network"]),
        "rec": "synthetic",
        "rec_labels": "shared",
        "image_column": None,
        "label_column": None,
        "num_classes": 20,
        "num_image": 200,
        "batch_size": min(8, values["batch_size"]),
        "gradient_acc": min(2, values["gradient_acc"]),
        "num_epoch": 1.0,
        "warmup_epoch": warmup_share,
        "max_steps": 4,
        "precision": "bf16" if bf16 else None,
        "fp16": False,
        "compile": False,
        "dali": False,
        "num_workers": 1,
        "prefetch_batches": 2,
        "device": "auto",
        "threads": 1,
        "val_targets": ("synthetic",),
        "val_dir": None,
        "val_batch_size": min(32, values["val_batch_size"]),
        "frequent": 1,
        "save_all_states": False,
        "using_wandb": False,
        "wandb_key": None,
        "output": str(Path("work_dirs") / f"tiny_{Path(values['output']).name}"),
    }
