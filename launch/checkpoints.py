"""Look at the checkpoints of a run; `python launch/checkpoints.py COMMAND -h` explains each command."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from recognition.checkpoint import DamagedCheckpoint, open_checkpoint
from recognition.checkpoint.folder import Listed, listed
from recognition.checkpoint.layout import FOLDER
from recognition.checkpoint.manifest import read_manifest, verify_sizes
from recognition.command import run_command
from recognition.errors import InputError


def main() -> None:
    """Run the command that the command line names."""
    parser = argparse.ArgumentParser(prog="python launch/checkpoints.py", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, run: Callable[[argparse.Namespace], None]) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=run.__doc__, description=run.__doc__)
        command.set_defaults(run=run)
        return command

    for command in (add("list", run_list), add("verify", run_verify)):
        command.add_argument("folder", type=Path, help="run directory, or its folder of checkpoints")

    given = parser.parse_args()
    given.run(given)


def run_list(given: argparse.Namespace) -> None:
    """Print step, size and origin of each checkpoint, and whether its files have their sizes."""
    print(f"{'step':>12}  {'MB':>10}  {'ranks':>5}  {'written (UTC)':<19}  {'best':<4}  files")
    for step, path in _found(given.folder):
        try:
            manifest = read_manifest(path)
            verify_sizes(path, manifest.files)
            origin = f"{manifest.size_bytes / 1e6:>10,.1f}  {manifest.world:>5}  {manifest.written_at[:19]:<19}"
            print(f"{step:>12}  {origin}  {'best' if manifest.is_best else '':<4}  {len(manifest.files)} complete")
        except DamagedCheckpoint as error:
            print(f"{step:>12}  {error}")


def run_verify(given: argparse.Namespace) -> None:
    """Compare every byte of every checkpoint with its SHA-256; exit code 2 when one is damaged."""
    found = _found(given.folder)
    damaged = 0
    for _, path in found:
        try:
            checkpoint = open_checkpoint(path)
            print(f"{path.name}: sound, {checkpoint.manifest.size_bytes / 1e6:,.1f} MB")
        except DamagedCheckpoint as error:
            damaged += 1
            print(f"{path.name}: {error}")
    if damaged:
        raise InputError(f"{damaged} of {len(found)} checkpoints are damaged (listed above); a resume passes them over")


def _found(folder: Path) -> list[Listed]:
    """The checkpoints in a run directory or in the folder itself; InputError when there are none."""
    inner = folder / FOLDER
    found = listed(inner if inner.is_dir() else folder)
    if not found:
        raise InputError(f"{folder} holds no checkpoints; give a run directory or its {FOLDER}/ folder")
    return found


if __name__ == "__main__":
    run_command(main)
