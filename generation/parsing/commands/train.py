"""Train a parser (BiSeNet): DATA holds images/ and masks/, or CelebAMask-HQ after merge."""

from __future__ import annotations

import argparse
import dataclasses

from generation.arguments import Flags
from generation.parsing.config import CHOICES, ParsingConfig
from generation.parsing.training import train
from generation.settings import HELPS
from recognition.cluster.requeue import run_and_requeue

METAVARS = {"resume": "CHECKPOINT"}
GROUPS = {
    "data": {
        "data_dir": "folder with images/ and masks/, or CelebAMask-HQ's",
        "masks": "where the masks are (default: data_dir/masks)",
        "test_size": "pictures kept apart, the last by name (default: a tenth, 2000 at most)",
        "image_size": "pixels that pictures are trained at, square",
        "plain": "vary the pictures by mirroring alone, not by scales, cuts and colours",
        "num_workers": "threads that read pictures",
        "cache_mb": "memory for decoded pictures, in MiB",
    },
    "model": {
        "width": "channels of the first layer; 64 is the published parser",
        "enlarge": "how many times larger pictures are seen than they are; for small ones",
    },
    "training": {
        "batch_size": "pictures of a rank in a step",
        "steps": "in all, those before a --resume included",
        "optimizer": "sgd, as published; adamw learns sooner in short runs",
        "lr": "learning rate of the ResNet and the context path",
        "head_lr_factor": "by which fusion and heads learn faster",
        "momentum": "of SGD; the first beta of AdamW",
        "weight_decay": "of the convolutions' weights",
        "warmup_steps": "first steps, in which the rate rises",
        "power": "with which it falls then",
        "seed": "of weights, order and variation",
    },
    "other": {
        "use_amp": HELPS["use_amp"],
        "amp_dtype": HELPS["amp_dtype"],
        "resume": HELPS["resume"],
        "save_dir": "folder for checkpoints, training_history.json and parser.pth",
        "log_dir": "TensorBoard's folder (default: save_dir/logs)",
        "eval_every": "steps between two judgements on the pictures kept apart, and checkpoints",
        "log_every": HELPS["log_every"],
        "device": HELPS["device"],
        "threads": HELPS["threads"],
        "requeue": HELPS["requeue"],
        "data_timeout_s": HELPS["data_timeout_s"],
        "collective_timeout_s": HELPS["collective_timeout_s"],
    },
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """A flag for every setting."""
    Flags(GROUPS, CHOICES, METAVARS).add_to(parser, ParsingConfig)


def run(given: argparse.Namespace) -> None:
    """Train; with torchrun on many ranks."""
    cfg = ParsingConfig(**{field.name: getattr(given, field.name) for field in dataclasses.fields(ParsingConfig)})
    run_and_requeue(train, cfg)
