"""Handing a job script to SLURM."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from recognition.atomic import write_text
from recognition.errors import InputError

PATIENCE_S = 60


def write_experiments(path: Path, experiments: Sequence[Sequence[str]]) -> None:
    """Write the lines that the array template reads: the job runs these, whatever becomes of the user's file."""
    write_text(path, "".join(shlex.join(words) + "\n" for words in experiments))


def submit(path: Path, *, run: Callable[..., Any] = subprocess.run) -> str:
    """Call sbatch on the script at `path`; returns the job's id. InputError with what sbatch says when it refuses."""
    try:
        done = run(["sbatch", "--parsable", str(path)], capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    except FileNotFoundError as error:
        raise InputError(
            f"there is no sbatch on this machine; {path} is written: submit it where there is one, or use --dry-run"
        ) from error
    except subprocess.TimeoutExpired as error:
        raise InputError(
            f"sbatch did not answer within {PATIENCE_S} s; see `squeue --me` before another try"
        ) from error
    if done.returncode:
        raise InputError(f"sbatch refused {path}: {' '.join(done.stderr.split()) or f'exit code {done.returncode}'}")
    return done.stdout.strip().partition(";")[0]
