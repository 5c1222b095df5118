"""Make, check and use sets of faces in many poses; `python launch/poses.py COMMAND -h` explains each command."""

from __future__ import annotations

from generation.posecontrol.commands import build, check, draw, judge, report, rotate
from recognition.command import run_command
from recognition.subcommands import run_one_of

COMMANDS = (build, draw, check, judge, report, rotate)


def main() -> None:
    """Run the command that the command line names."""
    run_one_of(COMMANDS, prog="python launch/poses.py", description=__doc__)


if __name__ == "__main__":
    run_command(main)
