"""A table that grows in parts, each whole or absent, so that a run of hours can stop and go on."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from recognition.atomic import replacing, write_text
from recognition.errors import InputError
from recognition.gallery.photos import Found

PHOTOS_A_PART = 2048
FACTS = "facts.json"


@dataclass(frozen=True)
class Part:
    """n rows: unit embeddings float32 (n, D), their lengths before (n,), path, label and face; failures: path, why."""

    emb_ND: np.ndarray
    norm_N: np.ndarray
    paths: list[str]
    labels: list[str]
    faces: list[Found]
    failures: list[tuple[str, str]]


class Parts:
    """The parts aside of the table `out`. `facts` says what they depend on: parts of anything else are refused.

    InputError when there are such parts of something else.
    """

    def __init__(self, out: Path, facts: dict[str, Any]) -> None:
        self.folder = out.with_name(f"{out.name}.parts")
        text = json.dumps(facts, indent=1, sort_keys=True)
        known = self.folder / FACTS
        if known.exists() and known.read_text(encoding="utf-8") != text:
            raise InputError(
                f"{self.folder} holds parts of a table of another model, folder or option; remove it to begin anew, or "
                "repeat the command that they are of"
            )
        if not known.exists():
            write_text(known, text)

    def has(self, number: int) -> bool:
        """Whether that part is there already."""
        return self._path(number).exists()

    def write(self, number: int, part: Part) -> None:
        """Write that part, whole or not at all."""
        rows = {
            "paths": part.paths,
            "labels": part.labels,
            "faces": [[face.score, face.box, face.points] for face in part.faces],
            "failures": part.failures,
        }
        arrays = {"emb": part.emb_ND, "norm": part.norm_N}
        with replacing(self._path(number)) as partial:
            save_file(arrays, partial, metadata={"rows": json.dumps(rows)})

    def read(self, count: int) -> Iterator[Part]:
        """The parts 0 to count - 1; InputError naming one that is damaged."""
        for number in range(count):
            path = self._path(number)
            try:
                part = _read(path)
            except (SafetensorError, OSError, ValueError, TypeError, KeyError) as error:
                raise InputError(
                    f"{path} is damaged ({error}); remove it and repeat the command, which makes it again"
                ) from error
            yield part

    def remove(self) -> None:
        """Once the table is written."""
        shutil.rmtree(self.folder)

    def _path(self, number: int) -> Path:
        return self.folder / f"part-{number:06d}.safetensors"


def _read(path: Path) -> Part:
    with safe_open(path, framework="np") as stored:
        rows = json.loads(stored.metadata()["rows"])
        faces = [Found(*face) for face in rows["faces"]]
        failures = [tuple(failure) for failure in rows["failures"]]
        emb_ND, norm_N = stored.get_tensor("emb"), stored.get_tensor("norm")
    return Part(emb_ND, norm_N, rows["paths"], rows["labels"], faces, failures)
