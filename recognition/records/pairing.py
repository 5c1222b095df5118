"""Verification pairs drawn from a folder, and the images that go into their `.bin` file."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from recognition.data.sources import FolderSource
from recognition.data.sources.files import read_image_file
from recognition.errors import InputError
from recognition.records.encode import Prepare, Rejected, prepare_all, require_one_size
from recognition.verification.pair_lists import FOLDS, PathPair

MOST_PAIRS = 6000  # as LFW
MOST_NAMED = 5


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


@dataclass(frozen=True)
class EncodedPairs:
    """`images`: JPEGs of the 2P pictures in order, of one `size`, (height, width); `issame`: P flags.

    `left_out`: (picture, why) of pairs left out.
    """

    images: list[bytes]
    issame: list[bool]
    size: tuple[int, int]
    left_out: list[tuple[str, str]]


def encode_pairs(
    pairs: Sequence[PathPair], issame: Sequence[bool], prepare: Prepare, *, skip_bad: bool = False
) -> EncodedPairs:
    """What `prepare` makes of the pictures of all pairs.

    InputError that counts and names the pictures that are missing, damaged or rejected; with `skip_bad`, their pairs
    are left out. InputError, too, when no pair is left and unless all pictures end up with one size.
    """
    paths = list(dict.fromkeys(path for pair in pairs for path in pair))
    bad = {path: f"{path}: the file is missing" for path in paths if not os.path.isfile(path)}
    if bad and not skip_bad:
        raise _unusable(pairs, bad)
    there = [path for path in paths if path not in bad]
    size, jpeg_of = None, {}
    for path, result in zip(there, prepare_all(there, read_image_file, str, prepare, "encoding pairs")):
        if isinstance(result, InputError):
            bad[path] = str(result)
        elif isinstance(result, Rejected):
            bad[path] = f"{path}: {result.reason}"
        else:
            size = require_one_size(result.size, size, partial(str, path))
            jpeg_of[path] = result.jpeg
    kept = [place for place, pair in enumerate(pairs) if not any(path in bad for path in pair)]
    if bad and not (skip_bad and kept):
        raise _unusable(pairs, bad)
    images = [jpeg_of[path] for place in kept for path in pairs[place]]
    return EncodedPairs(images, [issame[place] for place in kept], size, list(bad.items()))


def _unusable(pairs: Sequence[PathPair], bad: dict[str, str]) -> InputError:
    spoilt = sum(any(path in bad for path in pair) for pair in pairs)
    first = " | ".join(list(bad.values())[:MOST_NAMED])
    return InputError(
        f"{len(bad)} pictures of {spoilt} pairs cannot be used, first {first}. Is this the folder that the list is "
        "for? --skip-bad leaves these pairs out"
    )
