"""Make, change and look at record sets; `python launch/records.py COMMAND -h` explains each command."""

from __future__ import annotations

import argparse

from recognition.command import run_command
from recognition.records.commands import (
    align,
    augment,
    merge,
    noise,
    pack,
    pairs,
    shuffle,
    split,
    stats,
    unpack,
    verify,
)

COMMANDS = (align, pack, unpack, shuffle, merge, split, verify, stats, pairs, augment, noise)


def main() -> None:
    """Run the command that the command line names."""
    parser = argparse.ArgumentParser(prog="python launch/records.py", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for module in COMMANDS:
        name = module.__name__.rpartition(".")[2]
        command = commands.add_parser(name, help=module.__doc__, description=module.__doc__)
        module.add_arguments(command)
        command.set_defaults(run=module.run)
    given = parser.parse_args()
    given.run(given)


if __name__ == "__main__":
    run_command(main)
