"""Train a LoRA adapter of a flow-matching model (Flux, SD3), with a loss on the identity of faces.

    python launch/lora.py CONFIG [key=value ...]                             one process (CPU or one GPU)
    torchrun --nproc_per_node=8 launch/lora.py CONFIG [key=value ...]        one process per GPU

CONFIG is a Python file with a `config` EasyDict, as configs/lora_flux.py. Every key, its default and its choices are
documented in configs/lora_base.py. Models come from local folders; nothing is downloaded.
"""

import argparse
from pathlib import Path

from generation.lora.config import load_lora_config
from generation.lora.loop import train
from recognition.cluster.requeue import run_and_requeue
from recognition.command import run_command


def main() -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path, help="config file, e.g. configs/lora_flux.py")
    parser.add_argument("overrides", nargs="*", default=[], metavar="key=value", help="e.g. rank=32 output=runs/first")
    arguments = parser.parse_args()
    cfg = load_lora_config(arguments.config, arguments.overrides)
    run_and_requeue(train, cfg)


if __name__ == "__main__":
    run_command(main)
