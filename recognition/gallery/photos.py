"""A folder of photos, or a set of pictures, as rows of a table to be: where each lies, whose it is, the face in it."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from recognition.collectives import gather_text
from recognition.data.decode import decode_into
from recognition.data.sources import Source, open_source
from recognition.data.sources.files import IMAGE_SUFFIXES, read_image_file
from recognition.errors import InputError
from recognition.faces.photos import Aligner, Rejected
from recognition.runtime import Runtime


class Photos(Protocol):
    """N photos in a fixed order; `payload` is what their file holds, and may be called from many threads."""

    def __len__(self) -> int: ...

    def path(self, index: int) -> str:
        """By which a user knows it."""
        ...

    def label(self, index: int) -> str:
        """Whose it is: the name of the folder, or the number of the class; "" where nothing tells."""
        ...

    def payload(self, index: int) -> bytes | memoryview | np.ndarray:
        """Encoded bytes or pixels; InputError naming it when it cannot be read."""
        ...


class FilePhotos:
    """Image files by their paths below `root`, of which the first folder is the label."""

    def __init__(self, paths: Sequence[str], root: Path = Path()) -> None:
        self.paths, self.root = paths, root

    def __len__(self) -> int:
        return len(self.paths)

    def path(self, index: int) -> str:
        """Below the root, or as it was given."""
        return self.paths[index]

    def label(self, index: int) -> str:
        """The first folder of the path."""
        first, *rest = Path(self.paths[index]).parts
        return first if rest else ""

    def payload(self, index: int) -> bytes:
        """The file's bytes."""
        return read_image_file(os.path.join(self.root, self.paths[index]))


class SourcePhotos:
    """The images of a record file, of shards or of a list."""

    def __init__(self, source: Source) -> None:
        self.source = source

    def __len__(self) -> int:
        return len(self.source)

    def path(self, index: int) -> str:
        """File and place."""
        return self.source.describe(index)

    def label(self, index: int) -> str:
        """The number of the class."""
        return str(self.source.read(index).label)

    def payload(self, index: int) -> bytes | memoryview | np.ndarray:
        """What the source holds."""
        return self.source.read(index).payload


def photos_below(root: Path) -> FilePhotos:
    """Image files at any depth below `root`, sorted by their paths; InputError where there are none."""
    found = [
        os.path.relpath(os.path.join(where, file), root)
        for where, _, files in os.walk(root)
        for file in files
        if file.lower().endswith(IMAGE_SUFFIXES)
    ]
    if not found:
        raise InputError(f"{root}: holds no pictures ({', '.join(IMAGE_SUFFIXES)}); is it the right folder?")
    return FilePhotos(sorted(found), root)


def open_photos(path: Path) -> Photos:
    """A folder of pictures at any depth, or whatever `rec=` takes; InputError for what is neither."""
    if path.is_dir() and not any((path / name).exists() for name in ("train.rec", "dataset_info.json")):
        return photos_below(path)
    if not path.exists():
        raise InputError(f"{path} does not exist; give a folder of photos, or a set of records")
    return SourcePhotos(open_source(str(path)))


@dataclass(frozen=True)
class Found:
    """The face of a photo: detector score, box (x1, y1, x2, y2) and five points (x, y) in pixels, as flat lists."""

    score: float | None
    box: list[float] | None
    points: list[float] | None


class FacePictures:
    """The face of each of some photos (`indices`), aligned to `size` pixels square, for `embed_images`.

    Without an aligner photos are aligned faces of that size already. A photo that cannot be used is black, and its
    reason in `failures`, by its place; what was found of the others is in `found`. Both are this rank's share.
    """

    def __init__(self, photos: Photos, indices: Sequence[int], size: tuple[int, int], aligner: Aligner | None) -> None:
        self.photos, self.indices, self.size, self.aligner = photos, indices, size, aligner
        self.failures: dict[int, str] = {}
        self.found: dict[int, Found] = {}

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, place: int) -> np.ndarray:
        index = self.indices[place]
        try:
            payload = self.photos.payload(index)
            if self.aligner is None:
                pixels_HWC = np.empty((*self.size, 3), np.uint8)
                decode_into(pixels_HWC, payload, lambda: self.photos.path(index))
                self.found[place] = Found(None, None, None)
                return pixels_HWC
            seen = self.aligner(payload, lambda: self.photos.path(index))
        except InputError as error:
            seen = Rejected("unreadable", str(error))
        if isinstance(seen, Rejected):
            self.failures[place] = f"{seen.reason} ({seen.detail})"
            return np.zeros((*self.size, 3), np.uint8)
        face = seen.face
        self.found[place] = Found(float(face.score), face.box_4.tolist(), face.points_52.ravel().tolist())
        return seen.crop_SSC

    def gathered(self, runtime: Runtime) -> tuple[dict[int, str], dict[int, Found]]:
        """Failures and faces of all ranks, by place, ascending; a collective."""
        own = {"failures": self.failures, "found": {k: [f.score, f.box, f.points] for k, f in self.found.items()}}
        failures: dict[int, str] = {}
        found: dict[int, Found] = {}
        for text in gather_text(json.dumps(own), runtime, what="faces"):
            told = json.loads(text)
            failures |= {int(place): reason for place, reason in told["failures"].items()}
            found |= {int(place): Found(*values) for place, values in told["found"].items()}
        return dict(sorted(failures.items())), dict(sorted(found.items()))
