"""What the user writes after --targets -> the target: `KIND:PATH`, or a path alone for pairs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from recognition.errors import InputError
from recognition.targets.all_to_all import open_all_to_all
from recognition.targets.pairs import open_pairs
from recognition.targets.target import Options, Target

KINDS: dict[str, Callable[[str, Path, Options], Target]] = {"pairs": open_pairs, "all": open_all_to_all}


def open_target(text: str, name: str, options: Options) -> Target:
    """The target that `text` stands for, as `name`; InputError for an unknown kind, and for what the kind refuses."""
    kind, colon, path = text.partition(":")
    if not colon or Path(text).exists():
        kind, path = "pairs", text
    if kind not in KINDS:
        raise InputError(f"--targets {text}: there is no kind {kind!r}; there are {', '.join(KINDS)}")
    return KINDS[kind](name, Path(path), options)
