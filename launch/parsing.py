"""Train, judge and use parsers of faces (BiSeNet, 19 classes); `python launch/parsing.py COMMAND -h` explains each.

torchrun --nproc_per_node=8 launch/parsing.py train --data_dir CELEBAMASK     one process per GPU
"""

from __future__ import annotations

from generation.parsing.commands import draw, evaluate, export, merge, parse, train
from recognition.command import run_command
from recognition.subcommands import run_one_of

COMMANDS = (merge, draw, train, evaluate, parse, export)


def main() -> None:
    """Run the command that the command line names."""
    run_one_of(COMMANDS, prog="python launch/parsing.py", description=__doc__)


if __name__ == "__main__":
    run_command(main)
