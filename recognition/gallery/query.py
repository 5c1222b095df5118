"""Photos, or rows of a table -> who in a table is nearest."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from recognition.data.sources.files import read_image_file
from recognition.embedding.models import Embedder
from recognition.embedding.over_ranks import embed_images
from recognition.errors import InputError
from recognition.faces.alignment import SIZE
from recognition.faces.photos import Aligner
from recognition.gallery.index import nearest
from recognition.gallery.photos import FacePictures
from recognition.gallery.table import Table, model_sha256
from recognition.report.reading import outcomes_of
from recognition.runtime import Runtime


@dataclass(frozen=True)
class Match:
    """A row of the table that is near a query."""

    row: int
    path: str
    label: str
    cosine: float


@dataclass(frozen=True)
class Answer:
    """What a query found: matches, nearest first, at or above the threshold; or why it could not be looked for."""

    query: str
    matches: tuple[Match, ...]
    failure: str | None = None


class ListedPhotos:
    """Single photo files."""

    def __init__(self, paths: Sequence[str]) -> None:
        self.paths = paths

    def __len__(self) -> int:
        return len(self.paths)

    def path(self, index: int) -> str:
        """As it was given."""
        return self.paths[index]

    def label(self, index: int) -> str:
        """Nobody says."""
        return ""

    def payload(self, index: int) -> bytes:
        """The file's bytes."""
        return read_image_file(self.paths[index])


def require_same_model(model: Embedder, table: Table, path: Path) -> None:
    """InputError when the table is of another model: cosines between two models mean nothing."""
    made, asked = model_sha256(table.facts.get("model", {})), model_sha256(model.facts)
    if made != asked:
        name = table.facts.get("model", {}).get("file", "another model")
        raise InputError(
            f"{path} was made by {name} (SHA-256 {str(made)[:12]}), and {model.facts.get('file')} is another one "
            f"({str(asked)[:12]}); embeddings of two models cannot be compared: query with the same"
        )


def query_photos(
    model: Embedder,
    paths: Sequence[str],
    index: Any,
    table: Table,
    *,
    aligner: Aligner | None,
    runtime: Runtime,
    most: int,
    threshold: float = -1.0,
) -> list[Answer]:
    """For each photo the rows of the table that are nearest to the face in it."""
    pictures = FacePictures(ListedPhotos(paths), range(len(paths)), model.size or (SIZE, SIZE), aligner)
    emb_ND = embed_images(model, pictures, runtime=runtime, title="queries").emb_ND
    norm_N1 = np.linalg.norm(emb_ND, axis=1, keepdims=True)
    unit_ND = emb_ND / np.where(norm_N1 == 0, 1, norm_N1)
    answers = answers_of(unit_ND, paths, index, table, most=most, threshold=threshold)
    return [
        Answer(answer.query, (), pictures.failures[place]) if place in pictures.failures else answer
        for place, answer in enumerate(answers)
    ]


def answers_of(
    unit_QD: np.ndarray, names: Sequence[str], index: Any, table: Table, *, most: int, threshold: float = -1.0
) -> list[Answer]:
    """For each query, a unit vector, its matches."""
    cosines, rows = nearest(index, unit_QD, most)
    return [
        Answer(
            name,
            tuple(
                Match(int(row), table.paths[row], table.labels[row], float(cosine))
                for cosine, row in zip(cosines[place], rows[place])
                if row >= 0 and cosine >= threshold
            ),
        )
        for place, name in enumerate(names)
    ]


def threshold_of_report(report: Path, far: float, table: Table) -> float:
    """The cosine at which the table's model reached a FAR, as report.json has it, on the first target that can tell.

    InputError where no target can, and where the report is of other models.
    """
    made = model_sha256(table.facts.get("model", {}))
    try:
        content = json.loads(report.read_text(encoding="utf-8"))
        places = [place for place, model in enumerate(content["models"]) if model_sha256(model) == made]
        # Templates are means of several pictures: their thresholds are not those of single ones.
        outcomes = [
            outcome
            for target, outcome in (outcomes_of(content, places[0]) if places else ())
            if target["kind"] in ("pairs", "all_to_all")
        ]
        points = [point for outcome in outcomes for point in outcome.get("operating_points", [])]
        found = [point["threshold"] for point in points if point["far"] == far and point.get("threshold") is not None]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{report} is no report.json of launch/verify.py ({error})") from error
    if not places:
        name = table.facts.get("model", {}).get("file", "a model")
        raise InputError(f"{report} has no figures of the model that made the table, {name}; verify that one")
    if not found:
        raise InputError(f"{report}: no target can tell FAR {far:g}; choose a larger one, or give --threshold")
    return 1 - found[0] / 2
