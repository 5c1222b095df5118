"""Train a recogniser.

    python launch/train.py CONFIG [key=value ...]                             one process (CPU or one GPU)
    torchrun --nproc_per_node=8 launch/train.py CONFIG [key=value ...]        one process per GPU

CONFIG is a Python file with a `config` EasyDict, as in configs/ or arcface_torch. Every key, its default and its
choices are documented in configs/base.py. `tiny=True` shrinks any config to a few seconds on a laptop.
"""

import argparse
from pathlib import Path

from recognition.cluster.requeue import run_and_requeue
from recognition.command import run_command
from recognition.config import load_config
from recognition.training.loop import train


def main() -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path, help="config file, e.g. configs/glint360k_r50.py")
    parser.add_argument(
        "overrides", nargs="*", default=[], metavar="key=value", help="e.g. batch_size=64 output=runs/first"
    )
    arguments = parser.parse_args()
    cfg = load_config(arguments.config, arguments.overrides)
    run_and_requeue(train, cfg)


if __name__ == "__main__":
    run_command(main)
