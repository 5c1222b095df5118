"""The command line of a pose-control run."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Sequence
from pathlib import Path

from generation.posecontrol.config import CHOICES, PoseControlConfig
from recognition.errors import InputError

METAVARS = {"recogniser": "RUN", "identity_recogniser": "RUN", "encoder_weights": "FILE", "resume": "CHECKPOINT"}
GROUPS = {
    "data": {
        "data_dir": "folder of front_metadata.json, front_keypoints.npy, video_metadata.json and video_keypoints.npy",
        "image_dir": "folder of the pictures, where it is another one",
        "batch_size": "pairs of a rank in a pass",
        "num_workers": "threads that read pictures",
        "image_size": "side of the pictures in pixels, a multiple of 16; 112 is what recognisers are trained on",
        "min_angle_diff": "least angle between the poses of a pair, in degrees",
        "max_angle_diff": "largest angle between the poses of a pair, in degrees",
        "legacy_pose_order": "take files that do not say the order of their angles",
        "max_val_pairs": "validation pairs that are looked at after each epoch, evenly spread",
        "cache_mb": "memory for decoded pictures, in MiB",
    },
    "model": {
        "feature_dim": "numbers that the encoder's features are projected to",
        "pose_dim": "3: Euler angles; 6: two columns of the rotation matrix",
        "num_control_layers": "stages that the control branch acts on, from the coarsest",
        "freeze_generator": "train only the control branch and what reads the picture",
        "encoder": "recogniser, timm:resnet50 (ImageNet), or cnn: small, trained along",
        "recogniser": "run directory or weights of the encoder",
        "encoder_weights": "file for a timm encoder, instead of timm's own cache",
        "strict_encoder": "end when the encoder cannot be had, instead of training a small one",
        "finetune_backbone": "train the encoder along",
        "generator": "spatial keeps places and is much sharper; vector makes the picture of feature_dim numbers",
        "generator_width": "channels of the finest stage",
        "proj_norm": "norm behind the projection; layer can train on one picture a pass",
    },
    "training": {
        "epochs": "in all, those before a --resume included",
        "lr": "learning rate of AdamW; 5e-5 or 1e-5 to fine-tune",
        "weight_decay": "of AdamW",
        "pose_loss_weight": "0.3 to 0.5 where poses are read badly, 0.01 to 0.05 where pictures are bad",
        "reconstruct": "stage 0: train the generator to give the source back, without control",
        "new_stage": "with --resume: take the weights alone and begin at epoch 0",
        "seed": "of the weights, the split and the order",
    },
    "loss": {
        "loss_type": "of the pictures; combined is mse + l1_weight * l1",
        "l1_weight": "of the combined loss",
        "pose_loss": "mse of the pose's numbers, or the angle between the rotations",
        "identity_loss_weight": "of 1 - cosine between the faces of the picture made and the target",
        "identity_recogniser": "that it looks through, if not the encoder's",
    },
    "other": {
        "use_amp": "mixed precision",
        "amp_dtype": "of --use_amp; auto is bf16 where the device has it",
        "gradient_accumulation_steps": "passes of a step",
        "resume": "checkpoint to go on from, or `auto`: the newest in save_dir, if any",
        "save_dir": "folder for checkpoints, curves and the report",
        "log_dir": "TensorBoard's folder",
        "save_interval": "epochs between checkpoints that are kept",
        "log_every": "steps between two lines of the log",
        "device": "auto, cpu or cuda",
        "threads": "CPU threads a rank computes with; 0 shares the cores among the ranks",
        "requeue": "signals on which a SLURM job is queued again",
        "data_timeout_s": "seconds without a picture read after which a run ends",
        "collective_timeout_s": "seconds after which a rank that does not answer is given up",
    },
}


def config_of(words: Sequence[str] | None = None, *, description: str) -> PoseControlConfig:
    """The settings that a command line gives; it ends the program with a line of help where it is wrong."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    fields = {field.name: field for field in dataclasses.fields(PoseControlConfig)}
    for title, helps in GROUPS.items():
        group = parser.add_argument_group(title)
        for name, text in helps.items():
            _add(group, fields[name], text)
    given, others = parser.parse_known_args(words)
    if others:
        bare = [word for word in others if word in fields]
        hint = f"; flags begin with two dashes: --{bare[0]}" if bare else ""
        parser.error(f"unrecognized arguments: {' '.join(others)}{hint}")
    if given.data_dir is None:
        parser.error("--data_dir is required: the folder of the four files (launch/poses.py makes one)")
    try:
        return PoseControlConfig(**{name: getattr(given, name) for name in fields})
    except InputError as error:
        parser.error(str(error))


def _add(group: argparse._ArgumentGroup, field: dataclasses.Field, text: str) -> None:
    name, default = field.name, field.default
    if field.type == "bool":
        group.add_argument(f"--{name}", action="store_true", help=text)
        return
    kind = next(
        kind for word, kind in (("Path", Path), ("int", int), ("float", float), ("str", str)) if word in field.type
    )
    default = None if default is dataclasses.MISSING else default
    shown = "required" if name == "data_dir" else "default: none" if default is None else f"default: {default}"
    group.add_argument(
        f"--{name}",
        type=kind,
        default=default,
        choices=CHOICES.get(name),
        metavar=_metavar(name, kind),
        help=f"{text} ({shown})",
    )


def _metavar(name: str, kind: type) -> str | None:
    if name in CHOICES:
        return None
    return METAVARS.get(name) or {Path: "DIR", int: "N", float: "X", str: "NAME"}[kind]
