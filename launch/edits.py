"""Make sets for StarGAN, edit pictures and judge edits; `python launch/edits.py COMMAND -h` explains each command."""

from __future__ import annotations

from generation.stargan.commands import draw, edit, judge, pack, report
from recognition.command import run_command
from recognition.subcommands import run_one_of

COMMANDS = (draw, edit, judge, pack, report)


def main() -> None:
    """Run the command that the command line names."""
    run_one_of(COMMANDS, prog="python launch/edits.py", description=__doc__)


if __name__ == "__main__":
    run_command(main)
