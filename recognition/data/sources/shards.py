"""The files that a user means by one text: a path, a pattern such as `shards/train-{000..123}.tar`, or `a,b`."""

from __future__ import annotations

import glob
import itertools
import os
import re
from collections.abc import Sequence
from pathlib import Path

from recognition.errors import InputError

MOST_FILES = 1_000_000
BRACES = re.compile(r"\{([^{}]*)\}")
RANGE = re.compile(r"(\d+)\.\.(\d+)")
NUMBERED = re.compile(r"(?P<set>.*?)[-_.]?(?P<number>\d+)(-of-(?P<count>\d+))?")


def rec_entries(rec: str | os.PathLike | Sequence[str | os.PathLike]) -> list[str]:
    """The sets that `rec` names: those of a list, or of a text the parts between commas, unless it is a path itself."""
    if isinstance(rec, (list, tuple)):
        return [os.fspath(entry) for entry in rec]
    text = os.fspath(rec)
    if os.path.exists(text):
        return [text]
    outside_braces = re.split(r",(?![^{]*\})", text)
    return [entry.strip() for entry in outside_braces if entry.strip()] or [text]


def rec_folder(rec: str | os.PathLike | Sequence[str | os.PathLike]) -> Path:
    """The folder of the first set that `rec` names."""
    first = Path(rec_entries(rec)[0])
    return first if first.is_dir() else first.parent


def expand(entry: str) -> list[Path]:
    """The paths that one entry of `rec` stands for: itself, or the matches of its `{000..123}`, `{a,b}`, `*` and `?`.

    InputError when there is none, or when one of those in braces is missing.
    """
    if os.path.exists(entry):
        return [Path(entry)]
    if BRACES.search(entry):
        names = _expand_braces(entry)
        missing = [name for name in names if not os.path.exists(name)]
        if missing:
            raise InputError(
                f"rec={entry!r}: {len(missing)} of {len(names)} files do not exist, the first is {missing[0]}; "
                "bring them back, or correct the braces"
            )
        return [Path(name) for name in names]
    if re.search(r"[*?]", entry):
        names = sorted(glob.glob(entry))
        if not names:
            raise InputError(f"rec={entry!r} matches nothing; correct the pattern or the folder")
        return [Path(name) for name in names]
    raise InputError(
        f"rec={entry!r} does not exist; give a folder with train.rec, shards, or one folder per identity, or a "
        ".rec, .lst, .tar or .parquet file; or heads or synthetic, which stand alone"
    )


def shards_in(folder: Path, suffix: str) -> list[Path]:
    """The shards with that suffix in `folder`, sorted by number; [] when there are none.

    Of several sets (train-000.tar, val-000.tar) it is `train`. InputError where that does not settle it, and for a
    number that is missing.
    """
    # (number, announced count or 0, path) by the name of the set
    sets: dict[str, list[tuple[int, int, Path]]] = {}
    for path in sorted(folder.glob(f"[!.]*{suffix}")):
        stem = path.name.removesuffix(suffix)
        match = NUMBERED.fullmatch(stem)
        number, count = (int(match["number"]), int(match["count"] or 0)) if match else (0, 0)
        sets.setdefault(match["set"] if match else stem, []).append((number, count, path))
    if not sets:
        return []
    if len(sets) > 1 and "train" not in sets:
        first, second = (shards[0][2] for shards in list(sets.values())[:2])
        raise InputError(
            f"{folder}: holds {first.name} and {second.name}, which do not look like shards of one set (train-000"
            f"{suffix}, train-001{suffix}, ...); name those you mean, e.g. rec={first},{second} or rec={first}"
        )
    shards = sorted(sets["train"] if len(sets) > 1 else next(iter(sets.values())))
    _require_all(shards, folder)
    return [path for _, _, path in shards]


def _require_all(shards: list[tuple[int, int, Path]], folder: Path) -> None:
    numbers, count = [number for number, _, _ in shards], shards[0][1]
    first, last = (0, count - 1) if count else (numbers[0], numbers[-1])
    if len(set(numbers)) < len(numbers):
        twice = next(later[2] for one, later in itertools.pairwise(shards) if one[0] == later[0])
        raise InputError(f"{folder}: {twice.name} has the number of another shard; keep one of the two")
    absent = sorted(set(range(first, last + 1)).difference(numbers))
    if absent or (count and numbers[-1] > last):
        problem = f"shard {absent[0]} is missing" if absent else f"there are more than {count} shards"
        present = f"there are {len(numbers)}, from {shards[0][2].name} to {shards[-1][2].name}"
        raise InputError(f"{folder}: {problem} ({present}); bring it back, or name the files in rec")


def _expand_braces(entry: str) -> list[str]:
    pieces = BRACES.split(entry)
    choices = [[piece] if place % 2 == 0 else _choices(piece, entry) for place, piece in enumerate(pieces)]
    total = 1
    for several in choices:
        total *= len(several)
    if total > MOST_FILES:
        raise InputError(f"rec={entry!r} stands for {total} files; correct the braces")
    return ["".join(parts) for parts in itertools.product(*choices)]


def _choices(inside: str, entry: str) -> Sequence[str]:
    """`000..123` counts in the width of its first number; else the words between commas."""
    match = RANGE.fullmatch(inside)
    if not match:
        return inside.split(",")
    first, last, width = int(match[1]), int(match[2]), len(match[1])
    if not first <= last < first + MOST_FILES:
        raise InputError(f"rec={entry!r}: {{{inside}}} counts up to no good end; write {{FIRST..LAST}}")
    return [f"{number:0{width}}" for number in range(first, last + 1)]
