"""Train a small network that says which attributes a face has, apart from all that makes faces."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from generation.stargan.attribute_judge import train_judge
from generation.stargan.commands.arguments import add_pictures
from generation.stargan.pictures import open_pictures
from recognition.errors import InputError
from recognition.records.commands.arguments import add_seed


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The set, the file, and for how long."""
    parser.add_argument("data", type=Path, help="pictures in any layout that launch/stargan.py takes")
    parser.add_argument("out", type=Path, help="file to write, .safetensors")
    parser.add_argument("--attrs", nargs="+", metavar="ATTR", help="which (default: all that the set has)")
    parser.add_argument("--size", type=int, default=64, help="pixels that it looks at (default: 64)")
    parser.add_argument("--steps", type=int, default=1000, help="default: 1000")
    parser.add_argument("--threads", type=int, default=1, help="default: 1")
    add_pictures(parser)
    add_seed(parser)


def run(given: argparse.Namespace) -> None:
    """Train, and say how well it does on pictures it has not seen."""
    if given.out.suffix != ".safetensors":
        raise InputError(f"{given.out}: a judge is written as .safetensors; choose that suffix")
    if given.out.exists() or (given.out.parent.exists() and not given.out.parent.is_dir()):
        there = given.out if given.out.exists() else given.out.parent
        raise InputError(f"{there} is there already; choose another name for the judge")
    if given.size < 16 or given.steps < 1:
        raise InputError(f"--size {given.size} must be at least 16, and --steps {given.steps} at least 1")
    if given.threads:
        torch.set_num_threads(given.threads)
    pictures = open_pictures(
        given.data,
        given.attr_path,
        given.attrs,
        given.size,
        given.crop_size,
        test_size=given.test_size,
        skip_missing=given.skip_missing,
    )
    judge = train_judge(pictures, steps=given.steps, seed=given.seed)
    judge.save(given.out)
    told = ", ".join(f"{name} {of['accuracy']:.1%}" for name, of in judge.facts["accuracy"].items())
    print(f"judge: right on {judge.facts['judged on']} pictures it has not seen: {told}; {given.out}")
