"""The command line of a pose-control run."""

from __future__ import annotations

from collections.abc import Sequence

from generation.arguments import Flags, flag_parser, parsed
from generation.posecontrol.config import CHOICES, PoseControlConfig
from generation.settings import HELPS

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
        "use_amp": HELPS["use_amp"],
        "amp_dtype": HELPS["amp_dtype"],
        "gradient_accumulation_steps": "passes of a step",
        "resume": HELPS["resume"],
        "save_dir": "folder for checkpoints, curves and the report",
        "log_dir": "TensorBoard's folder",
        "save_interval": "epochs between checkpoints that are kept",
        "log_every": HELPS["log_every"],
        "device": HELPS["device"],
        "threads": HELPS["threads"],
        "requeue": HELPS["requeue"],
        "data_timeout_s": HELPS["data_timeout_s"],
        "collective_timeout_s": HELPS["collective_timeout_s"],
    },
}


def config_of(words: Sequence[str] | None = None, *, description: str) -> PoseControlConfig:
    """The settings that a command line gives; it ends the program with a line of help where it is wrong."""
    parser = flag_parser(description)
    Flags(GROUPS, CHOICES, METAVARS).add_to(parser, PoseControlConfig)
    needed = {"data_dir": "the folder of the four files (launch/poses.py makes one)"}
    return parsed(parser, words, PoseControlConfig, required=needed)
