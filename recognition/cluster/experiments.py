"""The experiments of a job array: lines such as `configs/a.py lr=0.1`, one for each task."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from recognition.config import TrainConfig, load_config
from recognition.errors import InputError


def read_lines(given: Sequence[str]) -> list[str]:
    """Lines of the one file that is named, or else the texts themselves; remarks and empty lines left out."""
    lines = list(given)
    if len(given) == 1 and Path(given[0]).is_file():
        lines = Path(given[0]).read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line.strip() and not line.lstrip().startswith("#")]


def plan_experiments(lines: Sequence[str], config: str | None, overrides: Sequence[str]) -> list[list[str]]:
    """Arguments of launch/train.py for each line: its config or else `config`, then `overrides`, then its own.

    InputError when a line is wrong, or two runs would write into one folder.
    """
    if not lines:
        raise InputError(
            "--array: no experiment; give a file with `CONFIG [key=value ...]` in each line, or such lines"
        )
    experiments, folders = [], {}
    for number, line in enumerate(lines, start=1):
        try:
            words = shlex.split(line)
        except ValueError as error:
            raise InputError(f"experiment {number}, {line!r}: {error}") from error
        own = None if not words or "=" in words[0] else words.pop(0)
        if own is None and config is None:
            raise InputError(f"experiment {number}, {line!r}, names no config; begin with one, or name one for all")
        arguments = [own or config, *overrides, *words]
        try:
            folder = checked_config(arguments).output_dir
        except InputError as error:
            raise InputError(f"experiment {number}: {error}") from error
        if folder in folders:
            raise InputError(
                f"experiments {folders[folder]} and {number} would both write into {folder}; give each its output=DIR"
            )
        folders[folder] = number
        experiments.append(arguments)
    return experiments


def checked_config(arguments: Sequence[str]) -> TrainConfig:
    """The config that launch/train.py will load; InputError now rather than when the job starts."""
    if any(word.partition("=")[0].strip() == "wandb_key" and not word.endswith("=None") for word in arguments):
        raise InputError("wandb_key would stand in the job script for all to read; run `wandb login` instead")
    return load_config(arguments[0], list(arguments[1:]))
