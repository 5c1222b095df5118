"""What the user writes after --targets -> the target: `KIND:PATH`, or a path alone for pairs."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from pathlib import Path

from recognition.errors import InputError
from recognition.targets.all_to_all import open_all_to_all
from recognition.targets.identification import open_openset, open_tinyface
from recognition.targets.listed_pairs import PUBLISHED, open_pairs
from recognition.targets.target import DEEP, Options, Target
from recognition.targets.templates import IJB

Opener = Callable[[str, Path, Options], Target]
OF_PAIRS = {"groups", "unit", "diagnose"}
KINDS: dict[str, Opener] = {
    "pairs": open_pairs,
    **PUBLISHED,
    **IJB,
    "openset": open_openset,
    "tinyface": open_tinyface,
    "all": open_all_to_all,
}

# A line for each of them, as `-h` shows it.
HELP = """targets:
  A.bin                   a set as arcface_torch has it
  LIST, pairs:LIST        lines `path,path,1|0[,fold]`, or as LFW's pairs.txt, or under a line that names columns:
                          first,second,same[,fold][,group][,first_person,second_person]; paths are below --images
  lfw:DIR  cfp-fp:DIR  agedb-30:DIR  calfw:DIR  cplfw:DIR     the set as published, unpacked there
  ijbb:DIR  ijbc:DIR      folders `meta` and `loose_crop` as InsightFace has them; 1:N too where its lists are there
  openset:DIR             gallery/NAME/... and probes/NAME/..., or a folder per person, which is then split
  tinyface:DIR            TinyFace as unpacked, aligned copies beside it or not
  all:SET                 everyone in a set (whatever rec= takes) with everyone: FAR to 1e-8
"""


def open_targets(texts: Sequence[str], options: Options) -> list[Target]:
    """The targets that these texts stand for, each with a name of its own.

    InputError as of `open_target`, for two that are the same, and for options that none of them takes.
    """
    names = names_of(texts)
    _require_used(texts, options)
    return [open_target(text, name, options) for text, name in zip(texts, names)]


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


def names_of(texts: Sequence[str]) -> list[str]:
    """What to call each of the targets: the last part of its path, whole where two would be called the same."""
    stems = [_stem(*split_target(text)) or text for text in texts]
    names = [stem if stems.count(stem) == 1 else text for stem, text in zip(stems, texts)]
    if double := next((name for name in names if names.count(name) > 1), None):
        raise InputError(f"--targets names {double} twice; once is enough")
    return names


def _stem(kind: str, path: str) -> str:
    return Path(path).stem if kind == "pairs" else Path(path).name  # others are folders, whose names may have dots


def _takes(text: str) -> set[str]:
    """The options that a target makes use of, beside those that all do."""
    kind, path = split_target(text)
    if kind == "pairs":
        return OF_PAIRS if Path(path).suffix == ".bin" else OF_PAIRS | {"images", "detector"}
    if kind in PUBLISHED:
        return OF_PAIRS | {"detector"}
    return {"detector"} if kind in ("openset", "tinyface") else set()


def _require_used(texts: Sequence[str], options: Options) -> None:
    """InputError for what would be passed over in silence, and for groups that could only be those of one set."""
    taken = [_takes(text) for text in texts]
    asked = {name for name in ("images", "groups", "unit", "detector") if getattr(options, name) is not None}
    asked |= {"diagnose"} if options.diagnose == DEEP else set()
    for name, why in (
        ("images", "it is for lists of pairs, which have paths"),
        ("groups", "it is for pairs"),
        ("unit", "it is for pairs"),
        ("diagnose", "it tries a model on pairs"),
        ("detector", "it is for photos: lists and published sets of pairs, openset, tinyface; others are aligned"),
    ):
        if name in asked and not any(name in each for each in taken):
            raise InputError(f"--{name}: none of these targets takes it; {why}")
    if options.groups is not None and len(texts) > 1:
        raise InputError(f"--groups {options.groups} has the pairs of one set; verify on one target at a time with it")
