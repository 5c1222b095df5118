"""What a folder of analysed pictures holds, written while the pictures come: memory does not grow with their number."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any, TextIO
from urllib.parse import quote

import numpy as np
from PIL import Image

from generation.analysis.drawing import annotated, label_of, mask_over
from generation.analysis.faces import AnalysedFace
from recognition.atomic import replacing, write_text
from recognition.errors import InputError
from recognition.grid import save_png
from recognition.page import data_uri, page_environment
from recognition.strict_json import finite

FACES, COSINES, PICTURES, MASKS = "faces.json", "cosines.json", "pictures", "masks"
FORMAT = "analysed-faces/1"
MOST_SHOWN, MOST_LINES, THUMBNAIL_SIDE = 200, 8, 480
MOST_COMPARED = 4000  # faces; their matrix is 160 MB of text
JPEG_QUALITY = 92


@dataclass(frozen=True)
class Shown:
    """A picture on the page: `title`, where the large one lies, the small one itself, and a line for each face."""

    title: str
    file: str
    uri: str
    lines: tuple[str, ...]


@dataclass
class Tally:
    """Counts of what was written; `failed`: (picture, reason); `shown`: the first pictures."""

    pictures: int = 0
    faces: int = 0
    failed: list[tuple[str, str]] = field(default_factory=list)
    shown: list[Shown] = field(default_factory=list)
    compared: list[tuple[str, np.ndarray]] = field(default_factory=list)
    left_out_of_comparison: int = 0


class FacesFile:
    """The open faces.json: one line for each picture, in their order."""

    def __init__(self, file: TextIO, folder: Path, *, draws: bool, compares: bool) -> None:
        self.file, self.folder, self.draws, self.compares = file, folder, draws, compares
        self.tally, self._written = Tally(), 0

    def add(self, name: str, pixels_HWC: np.ndarray, faces: Sequence[AnalysedFace]) -> None:
        """A picture, uint8 (H, W, 3), and its faces: into the file, and as a picture where they are wanted."""
        entry: dict[str, Any] = {"picture": name, "size": list(pixels_HWC.shape[1::-1])}
        if self.draws:
            entry["drawn"] = f"{PICTURES}/{name}.jpg"
            drawn = Image.fromarray(annotated(pixels_HWC, faces))
            _save_jpeg(self.folder / entry["drawn"], drawn)
            if len(self.tally.shown) < MOST_SHOWN:
                self.tally.shown.append(_shown(name, drawn, faces))
        classes_HW = mask_over(pixels_HWC, faces)[1]
        if classes_HW is not None:
            entry["classes"] = f"{MASKS}/{name}.png"
            save_png(self.folder / entry["classes"], classes_HW)
        self._line({**entry, "faces": [face.facts() for face in faces]})
        self.tally.pictures += 1
        self.tally.faces += len(faces)
        if self.compares:
            self._compare(name, faces)

    def fail(self, name: str, reason: str) -> None:
        """A picture of which nothing can be said."""
        self.tally.failed.append((name, reason))
        self._line({"picture": name, "error": reason})

    def _line(self, entry: dict[str, Any]) -> None:
        text = json.dumps(finite(entry), allow_nan=False)
        self.file.write((",\n" if self._written else "\n") + text)
        self._written += 1

    def _compare(self, name: str, faces: Sequence[AnalysedFace]) -> None:
        for number, face in enumerate(faces):
            if face.embedding_D is not None:
                if len(self.tally.compared) < MOST_COMPARED:
                    self.tally.compared.append((f"{name}#{number}", face.embedding_D))
                else:
                    self.tally.left_out_of_comparison += 1


@contextmanager
def writing(folder: Path, models: dict[str, Any], *, draws: bool, compares: bool) -> Iterator[FacesFile]:
    """A `FacesFile` in `folder`, which must have none yet.

    Ctrl-C and SIGTERM end it in order: the file then says `"complete": false`. On any other error there is no file.
    """
    if (folder / FACES).exists():
        raise InputError(f"{folder / FACES} is there already; name another folder, or remove it")
    head = {"format": FORMAT, "models": finite(models)}
    with replacing(folder / FACES) as partial:
        interrupted: KeyboardInterrupt | SystemExit | None = None
        with open(partial, "w", encoding="ascii") as file:
            file.write(json.dumps(head, allow_nan=False)[:-1] + ', "pictures": [')
            faces = FacesFile(file, folder, draws=draws, compares=compares)
            try:
                yield faces
            except (KeyboardInterrupt, SystemExit) as stop:
                interrupted = stop
            tally = faces.tally
            tail = {"complete": interrupted is None, "analysed": tally.pictures, "failed": len(tally.failed)}
            file.write("\n], " + json.dumps(tail | {"faces": tally.faces})[1:] + "\n")
    if interrupted is not None:
        raise interrupted


def write_cosines(path: Path, compared: Sequence[tuple[str, np.ndarray]]) -> None:
    """The cosine of each two faces, by the names of their pictures and their number there, in one file, row by row."""
    names = [name for name, _ in compared]
    emb_ND = np.stack([emb_D for _, emb_D in compared]) if compared else np.zeros((0, 1), np.float32)
    with replacing(path) as partial, open(partial, "w", encoding="ascii") as file:
        file.write('{"faces": ' + json.dumps(names) + ', "cosines": [')
        for row, emb_D in enumerate(emb_ND):
            cosine_N = np.round((emb_ND @ emb_D).astype(np.float64), 5).clip(-1, 1)
            file.write((",\n" if row else "\n") + json.dumps(cosine_N.tolist()))
        file.write("\n]}\n")


def _save_jpeg(path: Path, image: Image.Image) -> None:
    with replacing(path) as partial:
        image.save(partial, "JPEG", quality=JPEG_QUALITY)


def _shown(name: str, drawn: Image.Image, faces: Sequence[AnalysedFace]) -> Shown:
    small = drawn.copy()
    small.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE))
    buffer = BytesIO()
    small.save(buffer, "JPEG", quality=80)
    said = ["; ".join([label_of(face).replace("\n", "  "), *face.notes]) for face in faces]
    lines = [f"face {number}: {text}" for number, text in enumerate(said[:MOST_LINES])]
    lines += [f"and {len(said) - MOST_LINES} more"] if len(said) > MOST_LINES else []
    return Shown(name, quote(os.fsencode(f"{PICTURES}/{name}.jpg")), data_uri("jpeg", buffer.getvalue()), tuple(lines))


def write_page(path: Path, tally: Tally, models: dict[str, Any], *, complete: bool) -> None:
    """The page of what was found; its pictures are inside the file."""
    template = page_environment(Path(__file__).parent, escape=True).get_template("analysed.html")
    said = {key: _in_words(value) for key, value in models.items()}
    write_text(path, template.render(tally=tally, models=said, complete=complete, most_shown=MOST_SHOWN))


def _in_words(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {entry}" for key, entry in value.items())
    return "; ".join(map(_in_words, value)) or "none" if isinstance(value, list) else str(value)
