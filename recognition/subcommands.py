"""A command that has commands: one module each, whose docstring is its help, with `add_arguments` and `run`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from types import ModuleType


def run_one_of(modules: Sequence[ModuleType], *, prog: str, description: str) -> None:
    """Run the command that the command line names."""
    parser = argparse.ArgumentParser(prog=prog, description=description)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for module in modules:
        name = module.__name__.rpartition(".")[2]
        command = commands.add_parser(name, help=module.__doc__, description=module.__doc__)
        module.add_arguments(command)
        command.set_defaults(run=module.run)
    given = parser.parse_args()
    given.run(given)
