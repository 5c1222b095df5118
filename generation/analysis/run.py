"""Pictures, folders and videos through an analyser into a folder of results."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from generation.analysis.analyser import Analyser
from generation.analysis.writing import COSINES, FACES, FacesFile, Tally, write_cosines, write_page, writing
from generation.frames import PICTURES, VIDEOS, frames_of
from recognition.errors import InputError

PAGE = "index.html"


@dataclass(frozen=True)
class Wanted:
    """`every`: each so manieth frame of a video; `draws`: annotated pictures, `compares`: cosines of all faces."""

    every: int = 1
    draws: bool = True
    compares: bool = False

    def __post_init__(self) -> None:
        if self.every < 1:
            raise InputError(f"every {self.every}: must be at least 1")


def files_of(source: Path) -> list[Path]:
    """The picture or video, or all that a folder and its folders hold, by name; InputError where there is none."""
    if source.is_dir():
        files = sorted(path for path in source.rglob("*") if _may_show(path) and path.is_file())
        if not files:
            raise InputError(f"{source} holds no pictures or videos ({', '.join(sorted(PICTURES | VIDEOS))})")
        return files
    if not source.is_file():
        raise InputError(f"{source} does not exist; give a picture, a folder or a video")
    if not _may_show(source):
        raise InputError(f"{source} is no picture or video ({', '.join(sorted(PICTURES | VIDEOS))})")
    return [source]


def _may_show(path: Path) -> bool:
    return path.suffix.lower() in PICTURES | VIDEOS


def analyse(source: Path, out: Path, analyser: Analyser, wanted: Wanted) -> Tally:
    """Write faces.json, and what else is wanted, of a picture, a folder or a video into `out`.

    What cannot be read is listed. After Ctrl-C all that was done until then is there, and KeyboardInterrupt goes on.
    InputError where there is nothing to read, where nothing could be read, or where `out` has a faces.json already.
    """
    if wanted.compares and analyser.recogniser is None:
        raise InputError("to compare faces give a recogniser, or a pack that has one")
    if source.is_dir() and source.resolve() in (out.resolve(), *out.resolve().parents):
        raise InputError(f"{out} lies in {source}: its pictures would be looked at, too; name a folder outside")
    files, base = files_of(source), source if source.is_dir() else source.parent
    models, complete, tally = analyser.facts(), False, None
    try:
        with writing(out, models, draws=wanted.draws, compares=wanted.compares) as faces:
            tally = faces.tally
            for path in tqdm(files, "faces", unit="file", leave=False, delay=2, disable=None):
                _analyse_file(path, str(path.relative_to(base)), faces, analyser, wanted.every)
        complete = True
    finally:
        if tally is not None and (out / FACES).exists():
            if wanted.draws:
                write_page(out / PAGE, tally, models, complete=complete)
            if wanted.compares:
                write_cosines(out / COSINES, tally.compared)
    if not tally.pictures:
        name, reason = tally.failed[0]
        raise InputError(f"none of {len(tally.failed)} could be read; of {name}: {reason}")
    return tally


def _analyse_file(path: Path, name: str, faces: FacesFile, analyser: Analyser, every: int) -> None:
    try:
        with contextlib.closing(_frames(path, name, every)) as frames:
            for title, pixels_HWC in frames:
                _analyse_picture(title, pixels_HWC, faces, analyser)
    except InputError as error:
        faces.fail(name, str(error).removeprefix(f"{path}: "))


def _analyse_picture(title: str, pixels_HWC: np.ndarray, faces: FacesFile, analyser: Analyser) -> None:
    """One that a model cannot take is listed, and the frames after it are still looked at."""
    try:
        found = analyser(pixels_HWC, title)
    except InputError as error:
        faces.fail(title, str(error))
    else:
        faces.add(title, pixels_HWC, found)


def _frames(path: Path, name: str, every: int) -> Iterator[tuple[str, np.ndarray]]:
    """What cannot be read is an InputError, so that it is told from what cannot be written."""
    bar = tqdm(frames_of(path, every), name, unit="frame", leave=False, delay=2, disable=None)
    try:
        for number, pixels_HWC in bar:
            yield (name if number is None else f"{name}/{number}"), pixels_HWC
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from error
