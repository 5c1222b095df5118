"""Rules that the settings of every trainer are checked by, with the flag in the message."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from recognition.errors import InputError

REQUEUE = ("usr1", "always", "never")  # signals on which a SLURM job is queued again
# What is said of settings that all of them have.
HELPS = {
    "use_amp": "mixed precision",
    "amp_dtype": "of --use_amp; auto is bf16 where the device has it",
    "resume": "checkpoint to go on from, or `auto`: the newest in save_dir, if any",
    "log_every": "steps between two lines of the log",
    "device": "auto, cpu or cuda",
    "threads": "CPU threads a rank computes with; 0 shares the cores among the ranks",
    "requeue": "signals on which a SLURM job is queued again",
    "data_timeout_s": "seconds without a picture read after which a run ends",
    "collective_timeout_s": "seconds after which a rank that does not answer is given up",
}


def require_choices(settings: Any, choices: Mapping[str, Sequence[str]]) -> None:
    """InputError for a setting, or one of several values of it, that is not among its choices."""
    for key, allowed in choices.items():
        value = getattr(settings, key)
        for each in value if isinstance(value, tuple) else (value,):
            if each not in allowed:
                raise InputError(f"--{key} {each}: choose from {', '.join(allowed)}")


def require_least(settings: Any, keys: Iterable[str], least: float) -> None:
    """InputError for a number below `least`, and for one that is none or infinite."""
    for key in keys:
        if not least <= getattr(settings, key) < float("inf"):
            raise InputError(f"--{key} {getattr(settings, key)}: must be at least {least}")


def require_positive(settings: Any, keys: Iterable[str]) -> None:
    """InputError for a number that is not above 0."""
    for key in keys:
        if not getattr(settings, key) > 0:
            raise InputError(f"--{key} {getattr(settings, key)}: must be above 0")


def require_below_1(settings: Any, keys: Iterable[str]) -> None:
    """InputError for a number that is not in [0, 1)."""
    for key in keys:
        if not 0 <= getattr(settings, key) < 1:
            raise InputError(f"--{key} {getattr(settings, key)}: must be from 0 to below 1")
