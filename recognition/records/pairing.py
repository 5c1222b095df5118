"""Verification pairs from folders or pair lists, and the images that go into their `.bin` file."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from recognition.data.sources import FolderSource
from recognition.data.sources.files import read_image_file
from recognition.errors import InputError
from recognition.records.encode import encode_all

FOLDS = 10
MOST_PAIRS = 6000  # as LFW
PathPair = tuple[str, str]


def make_pairs(
    folder: str | Path, *, num_pairs: int | None = None, seed: int = 0, folds: int = FOLDS
) -> tuple[list[PathPair], list[bool]]:
    """Draw distinct pairs from a folder per identity: (P pairs of paths, P flags), half of them of one person.

    Laid out as LFW: `folds` equal blocks, each with its genuine pairs first and its impostor pairs after them. Every
    identity is equally likely, so large folders do not dominate; people may occur in several folds. The result is a
    function of the folder's names, `num_pairs` and `seed`. `num_pairs=None` takes as many as there are, up to 6000.
    """
    source = FolderSource(folder)
    counts = np.bincount(source.labels())
    starts = np.concatenate([[0], np.cumsum(counts)])
    possible = [int((counts * (counts - 1) // 2).sum()), int((counts.sum() ** 2 - (counts**2).sum()) // 2)]
    most = min(possible) // folds
    if most == 0:
        raise InputError(
            f"{folder}: allows {possible[0]} pairs of one person and {possible[1]} of two, {folds} folds need at least "
            f"{folds} of each; add images"
        )
    if num_pairs is None:
        num_pairs = 2 * folds * min(most, MOST_PAIRS // (2 * folds))
    if num_pairs <= 0 or num_pairs % (2 * folds) or num_pairs // (2 * folds) > most:
        raise InputError(
            f"{num_pairs} pairs cannot be made of {folder}: take a multiple of {2 * folds} up to {2 * folds * most}"
        )
    rng = np.random.default_rng(seed)
    genuine = _draw_genuine(rng, counts, starts, num_pairs // 2)
    impostor = _draw_impostor(rng, counts, starts, num_pairs // 2)
    each = num_pairs // (2 * folds)
    pairs, issame = [], []
    for fold in range(folds):
        block = slice(fold * each, (fold + 1) * each)
        pairs += [(source.paths[a], source.paths[b]) for a, b in genuine[block] + impostor[block]]
        issame += [True] * each + [False] * each
    return pairs, issame


def _draw_genuine(rng: np.random.Generator, counts: np.ndarray, starts: np.ndarray, wanted: int) -> list[tuple]:
    left = counts * (counts - 1) // 2
    seen: set[tuple[int, int]] = set()
    people = np.flatnonzero(left)
    drawn = []
    while len(drawn) < wanted:
        person = people[rng.integers(len(people))]
        a, b = sorted((starts[person] + rng.choice(counts[person], 2, replace=False)).tolist())
        if (a, b) in seen:
            continue
        seen.add((a, b))
        drawn.append((a, b))
        left[person] -= 1
        if left[person] == 0:
            people = np.flatnonzero(left)
    return drawn


def _draw_impostor(rng: np.random.Generator, counts: np.ndarray, starts: np.ndarray, wanted: int) -> list[tuple]:
    seen: set[tuple[int, int]] = set()
    drawn = []
    while len(drawn) < wanted:
        first, second = sorted(rng.choice(len(counts), 2, replace=False).tolist())
        pair = (int(starts[first] + rng.integers(counts[first])), int(starts[second] + rng.integers(counts[second])))
        if pair not in seen:
            seen.add(pair)
            drawn.append(pair)
    return drawn


def read_pair_list(path: str | Path, folder: str | Path) -> tuple[list[PathPair], list[bool]]:
    """Pairs of paths and flags from a list, in its order: LFW's `pairs.txt`, or lines `path,path,0|1` (comma or tab).

    Paths are relative to `folder`. InputError naming the line that is neither.
    """
    pairs, issame = [], []
    for number, line in enumerate(Path(path).read_text(encoding="utf-8", errors="surrogateescape").splitlines(), 1):
        fields = [field.strip() for field in line.replace(",", "\t").split("\t")]
        match fields:
            case [""] | ["path1", *_]:
                continue
            case [count] | [_, count] if number == 1 and count.isdecimal():
                continue  # LFW's first line: number of folds and pairs in each
            case [one, two, ("0" | "1") as same] if not two.isdecimal():
                names = one, two
            case [name, a, b] if a.isdecimal() and b.isdecimal():
                names, same = (_lfw_name(name, a), _lfw_name(name, b)), "1"
            case [one, a, two, b] if a.isdecimal() and b.isdecimal():
                names, same = (_lfw_name(one, a), _lfw_name(two, b)), "0"
            case _:
                raise InputError(f"{path}: line {number} is {line[:60]!r}; write `path,path,1` or `path,path,0`")
        pairs.append((os.path.join(folder, names[0]), os.path.join(folder, names[1])))
        issame.append(same == "1")
    if not pairs:
        raise InputError(f"{path}: holds no pairs; write one a line, `path,path,1` or `path,path,0`")
    return pairs, issame


def _lfw_name(name: str, number: str) -> str:
    return os.path.join(name, f"{name}_{int(number):04d}.jpg")


def encode_pairs(
    pairs: Sequence[PathPair], *, image_size: int | None = None, fit: str = "pad", quality: int = 95
) -> list[bytes]:
    """JPEGs of the 2P images in order, fitted as `encode.to_jpeg` does; InputError unless all end up with one size."""
    paths = list(dict.fromkeys(path for pair in pairs for path in pair))
    options = {"image_size": image_size, "fit": fit, "quality": quality}
    jpegs = encode_all(paths, read_image_file, str, "encoding pairs", **options)
    jpeg_of = {path: jpeg for path, (jpeg, _) in zip(paths, jpegs)}
    return [jpeg_of[path] for pair in pairs for path in pair]
