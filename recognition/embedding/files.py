"""Image files as pictures to embed: faces that are aligned already, or photos whose face is found and aligned."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from recognition.collectives import gather_text
from recognition.data.decode import announced_size, decode_into
from recognition.data.sources.files import read_image_file
from recognition.embedding.models import Embedder
from recognition.errors import InputError
from recognition.faces.photos import Aligner, Rejected
from recognition.runtime import Runtime


def square_side(size: tuple[int, int]) -> int:
    """Side of the aligned faces for a model that takes this (height, width); InputError unless it is square."""
    height, width = size
    if height != width:
        raise InputError(f"the model takes {width}x{height} pixels, and aligned faces are square; align them yourself")
    return height


class FilePictures:
    """Pictures of these files, read when they are asked for; all of one `size`, (height, width).

    Without an `aligner` they are faces of one size already: that of the first. InputError naming the file for one that
    cannot be read, has another size, or shows no usable face; with `note_failures`, these are black and their reasons
    are in `failures`, by index.
    """

    def __init__(self, paths: Sequence[str], aligner: Aligner | None = None, *, note_failures: bool = False) -> None:
        if not paths:
            raise InputError("there are no pictures; give a list or a folder that has some")
        self.paths, self.aligner, self.note_failures = paths, aligner, note_failures
        self.failures: dict[int, str] = {}
        if aligner is None:
            self.size = announced_size(read_image_file(paths[0]), lambda: paths[0])
        else:
            self.size = aligner.size, aligner.size

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> np.ndarray:
        try:
            return self._read(index)
        except InputError as error:
            if not self.note_failures:
                raise
            self.failures[index] = str(error)
            return np.zeros((*self.size, 3), np.uint8)

    def made_for(self, size: tuple[int, int] | None) -> FilePictures:
        """The same files in the `size` that a model takes (None: any), if their faces are aligned here; else `self`."""
        if self.aligner is None or size in (None, self.size):
            return self
        aligner = replace(self.aligner, size=square_side(size))
        return FilePictures(self.paths, aligner, note_failures=self.note_failures)

    def fitted_to(self, model: Embedder, what: str) -> FilePictures:
        """`made_for` the model's size; InputError where they cannot be, `what` says whose pictures they are."""
        pictures = self.made_for(model.size)
        try:
            model.require_size(*pictures.size, what)
        except InputError as error:
            raise InputError(f"{error}; of photos, --detector finds and aligns the faces") from error
        return pictures

    def all_failures(self, runtime: Runtime) -> dict[int, str]:
        """Those of all ranks, which read a share each; a collective."""
        noted = gather_text(json.dumps(self.failures), runtime, what="pictures that failed")
        return {int(index): reason for text in noted for index, reason in sorted(json.loads(text).items())}

    def _read(self, index: int) -> np.ndarray:
        path = self.paths[index]
        payload = read_image_file(path)
        if self.aligner is None:
            pixels_HWC = np.empty((*self.size, 3), np.uint8)
            decode_into(pixels_HWC, payload, lambda: path)
            return pixels_HWC
        found = self.aligner(payload, lambda: path)
        if isinstance(found, Rejected):
            raise InputError(f"{path}: {found.reason} ({found.detail}); leave it out, or align it by hand")
        return found.crop_SSC
