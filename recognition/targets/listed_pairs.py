"""Pairs by the paths of their pictures: lists of one's own, and sets as their authors publish them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from recognition.embedding.files import FilePictures
from recognition.errors import InputError
from recognition.targets.group_column import read_groups
from recognition.targets.pairs import PairsTarget, open_bin, resampled_people
from recognition.targets.target import Options, aligner_of
from recognition.verification.pair_lists import ListedPairs, read_pair_list
from recognition.verification.pairs import Pairs
from recognition.verification.protocol import require_scorable
from recognition.verification.published import PROTOCOLS, read_protocol


def open_pairs(name: str, path: Path, options: Options) -> PairsTarget:
    """A `.bin` file, or else a list of pairs whose paths are relative to `options.images`, or to the list's folder."""
    if path.suffix == ".bin":
        return open_bin(name, path, options)
    if path.is_dir():
        raise InputError(f"{path} is a folder, and pairs are a .bin file or a list; or name its kind, e.g. lfw:{path}")
    return listed(name, read_pair_list(path, options.images or path.parent), options)


def open_published(protocol: str, name: str, path: Path, options: Options) -> PairsTarget:
    """The set `protocol` (PROTOCOLS) in the folder that its archive was unpacked into."""
    return listed(name, read_protocol(protocol, path), options)


PUBLISHED = {protocol: partial(open_published, protocol) for protocol in PROTOCOLS}


def listed(name: str, pairs: ListedPairs, options: Options) -> PairsTarget:
    """The target of these pairs; each picture is embedded once, in however many pairs it stands."""
    names = [path for pair in pairs.pairs for path in pair]
    paths = list(dict.fromkeys(names))
    place_of = {path: place for place, path in enumerate(paths)}
    issame_P = np.array(pairs.issame, bool)
    require_scorable(issame_P)
    _require_files(name, paths)
    groups_P = read_groups(options.groups, pairs.places) if options.groups else pairs.groups
    pictures = FilePictures(paths, aligner_of(options))
    rows_N = np.array([place_of[path] for path in names])
    people_P2 = resampled_people(name, pairs.people, options)
    known = {"names": names, "groups_P": groups_P, "people_P2": people_P2}
    return PairsTarget(name, Pairs(pictures, issame_P), rows_N=rows_N, options=options, **known)


def _require_files(name: str, paths: Sequence[str]) -> None:
    """Said at once, and not when the first of them is to be embedded, which may be hours later."""
    missing = [path for path in paths if not os.path.isfile(path)]
    if missing:
        raise InputError(
            f"{name}: {len(missing)} of {len(paths)} pictures are missing, first {missing[0]}; give the folder that "
            "the paths are relative to with --images, or leave these pairs out"
        )
