"""Train a small network that says in which pose a face is, on the people that models are trained on."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from generation.posecontrol.pairs import read_split, split_of
from generation.posecontrol.pose_judge import train_judge
from generation.posecontrol.pose_set import read_pose_set
from recognition.errors import InputError
from recognition.records.commands.arguments import add_seed


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The set, the file, and for how long."""
    parser.add_argument("data_dir", type=Path, help="folder of the four files")
    parser.add_argument("out", type=Path, help="file to write, .safetensors")
    parser.add_argument(
        "--split", type=Path, help="split.json of a run (default: the set's, else by the seed, as of a run)"
    )
    parser.add_argument("--size", type=int, default=32, help="pixels that it looks at (default: 32)")
    parser.add_argument("--steps", type=int, default=1500, help="default: 1500")
    parser.add_argument("--threads", type=int, default=1, help="default: 1")
    parser.add_argument("--image_dir", type=Path, help="folder of the pictures, where it is another one")
    parser.add_argument(
        "--legacy_pose_order", action="store_true", help="take files that do not say the order of their angles"
    )
    add_seed(parser)


def run(given: argparse.Namespace) -> None:
    """Train, and say how well it does on people it has not seen."""
    if given.out.suffix != ".safetensors":
        raise InputError(f"{given.out}: a judge is written as .safetensors; choose that suffix")
    if given.size < 16 or given.steps < 1:
        raise InputError(f"--size {given.size} must be at least 16, and --steps {given.steps} at least 1")
    if given.threads:
        torch.set_num_threads(given.threads)
    pose_set = read_pose_set(given.data_dir, given.image_dir, legacy_pose_order=given.legacy_pose_order)
    split = read_split(given.split, pose_set) if given.split else split_of(given.data_dir, pose_set, seed=given.seed)
    judge = train_judge(pose_set, split.train, split.val, image_size=given.size, steps=given.steps, seed=given.seed)
    judge.save(given.out)
    print(f"judge: {judge.facts['error_deg']:.1f} degrees of error on people it has not seen; {given.out}")
