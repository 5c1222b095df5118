"""What the user writes after --targets -> the target: `KIND:PATH`, or a path alone for pairs."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from pathlib import Path

from recognition.errors import InputError
from recognition.targets.all_to_all import open_all_to_all
from recognition.targets.identification import open_openset, open_tinyface
from recognition.targets.listed_pairs import PUBLISHED, open_pairs
from recognition.targets.target import Options, Target
from recognition.targets.templates import IJB

Opener = Callable[[str, Path, Options], Target]
KINDS: dict[str, Opener] = {
    "pairs": open_pairs,
    **PUBLISHED,
    **IJB,
    "openset": open_openset,
    "tinyface": open_tinyface,
    "all": open_all_to_all,
}


def open_target(text: str, name: str, options: Options) -> Target:
    """The target that `text` stands for, as `name`; InputError for an unknown kind, and for what the kind refuses."""
    kind, path = split_target(text)
    return KINDS[kind](name, Path(path), options)


def split_target(text: str) -> tuple[str, str]:
    """Kind and path; InputError for a kind that there is not, naming the nearest that there is."""
    kind, colon, path = text.partition(":")
    if not colon or Path(text).exists():
        return "pairs", text
    if kind not in KINDS:
        near = difflib.get_close_matches(kind, KINDS, 1)
        meant = f"did you mean {near[0]}:{path}? " if near else ""
        raise InputError(f"--targets {text}: there is no kind {kind!r}; {meant}there are {', '.join(KINDS)}")
    if not path:
        raise InputError(f"--targets {text}: names no path; write {kind}:PATH")
    return kind, path


def names_of(texts: list[str]) -> list[str]:
    """What to call each of the targets: the last part of its path, whole where two would be called the same."""
    stems = [Path(split_target(text)[1]).stem or text for text in texts]
    names = [stem if stems.count(stem) == 1 else text for stem, text in zip(stems, texts)]
    if double := next((name for name in names if names.count(name) > 1), None):
        raise InputError(f"--targets names {double} twice; once is enough")
    return names
