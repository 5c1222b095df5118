"""The command line of a StarGAN run."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from generation.arguments import Flags, flag_parser, parsed
from generation.settings import HELPS
from generation.stargan.config import CHOICES, StarGANConfig, read_settings

METAVARS = {
    "attr_path": "FILE", "selected_attrs": "ATTR", "recogniser": "RUN", "keep_classes": "CLASS",
    "resume": "CHECKPOINT", "beta1": "B",
    "beta2": "B",
}  # fmt: skip
GROUPS = {
    "data": {
        "data_dir": "folder of pictures and their attributes",
        "dataset": "how they lie there: CelebA's layout, a folder for each attribute, or record files; auto looks",
        "attr_path": "table of attributes in CelebA's form, where it is not in data_dir",
        "selected_attrs": "attributes to edit; how many there are decides the networks' c_dim",
        "crop_size": "side of the middle square that is cut out, in pixels (default: the largest; 178 on CelebA)",
        "test_size": "pictures kept apart, unless list_eval_partition.txt says (default: a tenth, 2000 at most)",
        "skip_missing": "leave out pictures that the table names and the folder lacks",
        "num_workers": "threads that read pictures",
        "cache_mb": "memory for decoded pictures, in MiB",
    },
    "model": {
        "image_size": "side of the pictures in pixels, a multiple of 2^d_repeat_num",
        "g_conv_dim": "channels of the generator's first layer",
        "d_conv_dim": "channels of the discriminator's first layer",
        "g_repeat_num": "residual blocks of the generator",
        "d_repeat_num": "layers of the discriminator, each of which halves the sides",
        "residual": "the generator adds to the picture what it makes, instead of making it anew: learns sooner",
    },
    "training": {
        "batch_size": "pictures of a rank in a step",
        "num_epochs": "in all, those before a --resume included",
        "g_lr": "learning rate of the generator",
        "d_lr": "learning rate of the discriminator",
        "beta1": "of Adam",
        "beta2": "of Adam",
        "n_critic": "steps of the discriminator for one of the generator",
        "lr_decay_epochs": "last epochs, in which the learning rates fall to 0 (default: the second half)",
        "ema_decay": "of the moving average of the generator, which edits and is exported",
        "seed": "of weights, order, targets and flips",
    },
    "loss": {
        "lambda_cls": "weight of the attributes' binary cross-entropy, summed over attributes",
        "lambda_rec": "weight of the way back: L1 between a picture and its edit undone",
        "lambda_gp": "weight of the gradient penalty",
        "lambda_id": "weight of 1 - cosine between the faces of a picture and its edit",
        "masks": "folder of pictures' classes (launch/parsing.py), PNGs named as the pictures: some of it shall stay",
        "keep_classes": "of pixels that an edit shall leave as they are, where there are masks",
        "lambda_keep": "weight of L1 between a picture and its edit there",
        "recogniser": "that lambda_id looks through: a run of launch/train.py, or weights",
    },
    "other": {
        "use_amp": "mixed precision; the gradient penalty stays in float32",
        "amp_dtype": HELPS["amp_dtype"],
        "resume": HELPS["resume"],
        "save_dir": "folder for checkpoints, samples and stargan_G.pth",
        "log_dir": "TensorBoard's folder (default: save_dir/logs)",
        "save_interval": "epochs between checkpoints that are kept",
        "sample_interval": "epochs between sample pictures",
        "log_every": HELPS["log_every"],
        "device": HELPS["device"],
        "threads": HELPS["threads"],
        "requeue": HELPS["requeue"],
        "data_timeout_s": HELPS["data_timeout_s"],
        "collective_timeout_s": HELPS["collective_timeout_s"],
    },
}


def config_of(words: Sequence[str] | None = None, *, description: str) -> StarGANConfig:
    """The settings that a command line gives, over those of its --config; it ends the program where they are wrong.

    InputError for a file that cannot be read as settings.
    """
    first = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    first.add_argument("--config", type=Path)
    of_file, rest = first.parse_known_args(words)
    parser = flag_parser(description)
    parser.add_argument("--config", type=Path, metavar="FILE.yaml", help="settings, as in configs/stargan_celeba.yaml")
    defaults = {} if of_file.config is None else read_settings(of_file.config)
    Flags(GROUPS, CHOICES, METAVARS).add_to(parser, StarGANConfig, defaults)
    return parsed(parser, rest, StarGANConfig)
