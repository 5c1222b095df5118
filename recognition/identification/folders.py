"""Which pictures are enrolled and which are searched for: folders by name, and TinyFace's published lists."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from recognition.data.sources.files import IMAGE_SUFFIXES, FolderSource
from recognition.errors import InputError
from recognition.matlab import Many, read_matlab, text_of

GALLERY, PROBES = "gallery", "probes"
STRANGERS_SHARE = 1 / 3
DISTRACTOR = -100  # TinyFace's own label
MATCH_LIST, PROBE_LIST = "gallery_match_img_ID_pairs.mat", "probe_img_ID_pairs.mat"
MOST_PEOPLE = 1 << 53  # numbers that a float64 can count


@dataclass(frozen=True)
class Gathering:
    """N pictures: `paths`, whose they are (`person_N`, int64), and which are probes, bool (N,), the others enrolled.

    `names` by person; `remarks`: what a reader should know of how they were gathered; `skips_failures`: whether
    pictures that cannot be used are noted and left out, not an error.
    """

    paths: list[str]
    person_N: np.ndarray
    is_probe_N: np.ndarray
    names: dict[int, str]
    remarks: tuple[str, ...] = ()
    skips_failures: bool = False

    def name_of(self, picture: int) -> str:
        """Whose picture it is."""
        person = int(self.person_N[picture])
        return self.names.get(person, "a distractor" if person == DISTRACTOR else str(person))

    def probes(self) -> np.ndarray:
        """Indices of the pictures that are searched for."""
        return np.flatnonzero(self.is_probe_N)


def gathered(folder: Path, *, seed: int = 0, skips_failures: bool = False) -> Gathering:
    """Pictures of FOLDER/gallery/NAME and FOLDER/probes/NAME; a probe whose name is not in the gallery is a stranger.

    A folder per person without these two is split, depending on its names and `seed` alone: a third of the people are
    strangers, of the others the first picture is enrolled and the rest are probes. InputError without a gallery or
    probes.
    """
    folder = Path(folder)
    parts = [folder / GALLERY, folder / PROBES]
    there = [part.is_dir() for part in parts]
    if not any(there):
        return _split(FolderSource(folder), folder, seed, skips_failures)
    if not all(there):
        has, lacks = parts[there.index(True)].name, parts[there.index(False)].name
        raise InputError(f"{folder}: has {has}, but no {lacks}; add it")
    gallery, probes = (FolderSource(part) for part in parts)
    names = sorted({_person(path, part) for source, part in zip((gallery, probes), parts) for path in source.paths})
    label_of = {name: label for label, name in enumerate(names)}
    paths = [*gallery.paths, *probes.paths]
    person_N = np.array(
        [label_of[_person(path, part)] for source, part in zip((gallery, probes), parts) for path in source.paths]
    )
    is_probe_N = np.arange(len(paths)) >= len(gallery)
    return Gathering(paths, person_N, is_probe_N, dict(enumerate(names)), skips_failures=skips_failures)


def _split(source: FolderSource, folder: Path, seed: int, skips_failures: bool) -> Gathering:
    person_N = np.asarray(source.labels())
    counts = np.bincount(person_N)
    names = {int(person): _person(source.paths[int(np.argmax(person_N == person))], folder) for person in set(person_N)}
    order = np.random.default_rng(seed).permutation(len(counts))
    strangers = set(order[: round(len(counts) * STRANGERS_SHARE)].tolist())
    strangers |= {person for person in range(len(counts)) if counts[person] < 2}
    if len(strangers) == len(counts):
        raise InputError(f"{folder}: has {len(counts)} people, too few with two pictures, one to enrol and one to find")
    first_N = np.r_[True, np.diff(person_N) > 0]
    is_probe_N = ~first_N | np.isin(person_N, list(strangers))
    remark = (
        f"{folder} has no {GALLERY} and {PROBES}, so it was split: {len(counts) - len(strangers)} people enrolled with "
        f"their first picture, {len(strangers)} kept out as strangers (seed {seed})"
    )
    return Gathering(source.paths, person_N, is_probe_N, names, (remark,), skips_failures)


def tinyface_gathering(folder: Path) -> Gathering:
    """TinyFace as unpacked (…/Testing_Set with its two .mat lists), pictures there or in aligned copies beside it.

    FOLDER holds Testing_Set, or tinyface/Testing_Set; Gallery_Match, Probe and Gallery_Distractor lie in FOLDER, in a
    folder in it (aligned_pad_0.1_pad_high, say), or in Testing_Set: the first of these that is there. InputError where
    a list is missing or not as published.
    """
    folder = Path(folder)
    lists = next((p for p in (folder / "Testing_Set", folder / "tinyface" / "Testing_Set") if p.is_dir()), None)
    if lists is None:
        raise InputError(f"{folder}: has no Testing_Set; give the folder that TinyFace was unpacked into")
    aligned = sorted(path for path in folder.iterdir() if (path / "Gallery_Match").is_dir() and path != lists)
    root = next(path for path in (folder, *aligned, lists) if (path / "Gallery_Match").is_dir() or path == lists)
    gallery, probe = (
        _mat_list(lists / file, f"{kind}_set", f"{kind}_ids", root / pictures)
        for file, kind, pictures in ((MATCH_LIST, "gallery", "Gallery_Match"), (PROBE_LIST, "probe", "Probe"))
    )
    distractors = _files_below(root / "Gallery_Distractor")
    paths = [*gallery[0], *distractors, *probe[0]]
    person_N = np.r_[gallery[1], np.full(len(distractors), DISTRACTOR), probe[1]].astype(np.int64)
    is_probe_N = np.arange(len(paths)) >= len(gallery[0]) + len(distractors)
    remarks = () if distractors else (f"{root}/Gallery_Distractor is empty or missing: figures are not TinyFace's",)
    return Gathering(paths, person_N, is_probe_N, {}, remarks)


def _mat_list(path: Path, names: str, labels: str, folder: Path) -> tuple[list[str], np.ndarray]:
    """Paths and people of a published list."""
    if not path.is_file():
        raise InputError(f"{path} does not exist; unpack TinyFace's archive again")
    content = read_matlab(path, (names, labels))
    pictures, numbers = content[names], content[labels]
    if not isinstance(pictures, Many) or not isinstance(numbers, np.ndarray):
        raise InputError(f"{path}: is not TinyFace's list, {names} and {labels} are none; unpack the archive again")
    try:
        files = [text_of(entry) for entry in pictures.values]
    except InputError as error:
        raise InputError(f"{path}: is not TinyFace's list ({error}); unpack the archive again") from error
    if len(files) != numbers.size:
        raise InputError(f"{path}: has {len(files)} pictures for {numbers.size} labels; unpack the archive again")
    if not (abs(numbers) <= MOST_PEOPLE).all() or (numbers != np.rint(numbers)).any():
        raise InputError(f"{path}: {labels} are no numbers of people; unpack the archive again")
    return [os.path.join(folder, file) for file in files], numbers.ravel(order="F").astype(np.int64)


def _files_below(folder: Path) -> list[str]:
    return sorted(
        os.path.join(where, file)
        for where, _, files in os.walk(folder)
        for file in files
        if file.lower().endswith(IMAGE_SUFFIXES)
    )


def _person(path: str, folder: Path) -> str:
    return Path(os.path.relpath(path, folder)).parts[0]
