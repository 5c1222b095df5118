"""Make, change and look at record sets; `python launch/records.py COMMAND -h` explains each command."""

from __future__ import annotations

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
from recognition.subcommands import run_one_of

COMMANDS = (align, pack, unpack, shuffle, merge, split, verify, stats, pairs, augment, noise)


def main() -> None:
    """Run the command that the command line names."""
    run_one_of(COMMANDS, prog="python launch/records.py", description=__doc__)


if __name__ == "__main__":
    run_command(main)
