"""Look at the checkpoints of a run, or make one; `python launch/checkpoints.py COMMAND -h` explains each command."""

from __future__ import annotations

import argparse
import re
import shlex
from collections.abc import Callable
from pathlib import Path

from recognition.checkpoint import DamagedCheckpoint, open_checkpoint
from recognition.checkpoint.folder import Listed, listed
from recognition.checkpoint.layout import FOLDER
from recognition.checkpoint.manifest import read_manifest, verify_sizes
from recognition.command import run_command
from recognition.config import load_config
from recognition.errors import InputError
from recognition.training.importing import import_arcface_torch


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

    command = add("import", run_import)
    command.usage = "%(prog)s [-h] FOLDER --config CONFIG --out RUN [key=value ...]"
    command.epilog = "key=value sets a key of the config, as with launch/train.py"
    command.add_argument(
        "folder", type=Path, help="folder with arcface_torch's checkpoint_gpu_N.pt, those of all ranks"
    )
    command.add_argument("--config", type=Path, required=True, help="config of that run, with its batch_size")
    command.add_argument("--out", type=Path, required=True, metavar="RUN", help="run directory to make")

    # argparse takes no positional arguments that are parted by options.
    given, given.overrides = parser.parse_known_args()
    if wrong := [word for word in given.overrides if given.run is not run_import or not re.match(r"\w+=", word)]:
        parser.error(f"unrecognized arguments: {' '.join(wrong)}")
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


def run_import(given: argparse.Namespace) -> None:
    """Make a run directory that launch/train.py goes on in, on any number of ranks, from checkpoints of arcface_torch.

    Backbone, optimizer and class centres go on as they were; images are drawn in the order of this system, not theirs.
    """
    cfg = load_config(given.config, [*given.overrides, f"output={given.out}"])
    print(f"{import_arcface_torch(given.folder, cfg, print)}: written")
    words = [str(given.config), *given.overrides, f"output={given.out}"]
    if cfg.resume is False:  # as in their configs; it would set aside what was just made
        words.append("resume=auto")
    print("go on with: launch/train.py", shlex.join(word for word in words if not word.startswith("wandb_key=")))


def _found(folder: Path) -> list[Listed]:
    """The checkpoints in a run directory or in the folder itself; InputError when there are none."""
    inner = folder / FOLDER
    found = listed(inner if inner.is_dir() else folder)
    if not found:
        raise InputError(f"{folder} holds no checkpoints; give a run directory or its {FOLDER}/ folder")
    return found


if __name__ == "__main__":
    run_command(main)
