"""ONNX files side by side: size, time per picture, accuracy on pairs, and how alike their embeddings are.

The JSON beside the table, schema "arcscale.export.1"; what was not or cannot be measured is null:
    machine      cpu, threads, onnxruntime (its version), repeats
    reference    the file that the cosines refer to, the first one
    pictures     the pictures of which the cosines are, and how many
    files[]      file, precision, size_bytes, latency_ms {"1": ms per picture, "32": ...}, accuracy {target: share},
                 cosine_mean, cosine_min
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from recognition.data.transforms import to_input
from recognition.embedding.models import Embedder, open_embedder
from recognition.errors import InputError
from recognition.export.agreement import BATCH_SIZE, agreement
from recognition.export.calibration import drawn_faces
from recognition.export.latency import latencies_ms
from recognition.export.stored import size_bytes
from recognition.export.table import aligned, fixed, how_timed, machine_facts, write_table
from recognition.runtime import Runtime
from recognition.spread import spread
from recognition.targets.pairs import PairsTarget

SCHEMA = "arcscale.export.1"
BATCHES = (1, 32)
MOST_PICTURES = 256
REPEATS = 10


@dataclass(frozen=True)
class Row:
    """What is known of one file; `latency_ms` per picture by batch size, `accuracy` by target."""

    file: str
    precision: str | None
    size_bytes: int
    latency_ms: Mapping[int, float | None]
    accuracy: Mapping[str, float]
    cosine_mean: float
    cosine_min: float


@dataclass(frozen=True)
class Comparison:
    """The rows in the order of the files; `pictures` says of which pictures the cosines to the first file are."""

    rows: Sequence[Row]
    pictures: str
    threads: int
    repeats: int

    def facts(self) -> dict[str, Any]:
        """As the module's docstring says."""
        return {
            "schema": SCHEMA,
            "machine": machine_facts(self.threads, self.repeats),
            "reference": self.rows[0].file,
            "pictures": self.pictures,
            "files": [asdict(row) for row in self.rows],
        }


def compare_files(
    files: Sequence[Path],
    targets: Sequence[PairsTarget] = (),
    *,
    runtime: Runtime,
    images_NHWC: tuple[str, np.ndarray] | None = None,
    threads: int = 1,
    repeats: int = REPEATS,
    batch_size: int = 64,
) -> Comparison:
    """Measure each file; cosines are those to the first, over `images_NHWC` (their name, uint8), else the targets'.

    InputError for a file that is no recogniser, and for one whose embeddings have another length than the first's.
    """
    models = [open_embedder(path) for path in files]
    size = next((model.size for model in models if model.size), (112, 112))
    what, images = images_NHWC or _pictures(targets, size)
    embeddings = [_embeddings(model, images, what) for model in models]
    wanted_ND = embeddings[0]
    for path, emb_ND in zip(files, embeddings):
        if emb_ND.shape != wanted_ND.shape:
            raise InputError(
                f"{path} has embeddings of {emb_ND.shape[1]} numbers and {files[0]} of {wanted_ND.shape[1]}: they "
                "cannot be compared; verify each with launch/verify.py"
            )
    latency = {batch: latencies_ms(files, batch, size=size, threads=threads, repeats=repeats) for batch in BATCHES}
    rows = []
    for place, (path, model, emb_ND) in enumerate(zip(files, models, embeddings)):
        scores = {target.name: target.score(model, runtime=runtime, batch_size=batch_size) for target in targets}
        found = agreement(emb_ND, wanted_ND)
        rows.append(
            Row(
                file=str(path),
                precision=model.facts.get("precision", "fp32" if "network" in model.facts else None),
                size_bytes=size_bytes(path),
                latency_ms={batch: values[place] for batch, values in latency.items()},
                accuracy={name: outcome.result.accuracy for name, outcome in scores.items()},
                cosine_mean=found.mean,
                cosine_min=found.minimum,
            )
        )
    return Comparison(rows, f"{what} ({len(images)})", threads, repeats)


def table(comparison: Comparison) -> str:
    """The comparison as a table in Markdown, which is readable as it is, and under it what the figures are."""
    names = list(dict.fromkeys(name for row in comparison.rows for name in row.accuracy))
    head = ["file", "MB", *[f"ms/picture, batch {batch}" for batch in BATCHES]]
    head += [f"accuracy {name}" for name in names] + ["cosine mean", "cosine min"]
    lines = [
        [
            Path(row.file).name,
            f"{row.size_bytes / 1e6:.2f}",
            *[fixed(row.latency_ms[batch], 2) for batch in BATCHES],
            *[fixed(row.accuracy.get(name), 4) for name in names],
            fixed(row.cosine_mean, 6),
            fixed(row.cosine_min, 6),
        ]
        for row in comparison.rows
    ]
    machine = comparison.facts()["machine"]
    explained = f"{how_timed(machine)} Cosine: to {Path(comparison.rows[0].file).name}, over {comparison.pictures}."
    return "\n".join([*aligned([head, *lines]), "", explained, ""])


def write_comparison(comparison: Comparison, path: Path) -> Path:
    """Write the table to `path` and the facts beside it as .json, whose path is returned."""
    return write_table(path, table(comparison), comparison.facts())


def _pictures(targets: Sequence[PairsTarget], size: tuple[int, int]) -> tuple[str, np.ndarray]:
    if not targets:
        return "drawn faces", drawn_faces(size=size[0])
    images_NHWC = targets[0].pairs.images
    chosen = spread(len(images_NHWC), MOST_PICTURES)
    return f"pictures of {targets[0].name}", np.stack([images_NHWC[index] for index in chosen])


def _embeddings(model: Embedder, images_NHWC: np.ndarray, what: str) -> np.ndarray:
    model.require_size(*images_NHWC.shape[1:3], what)
    batches = (images_NHWC[start : start + BATCH_SIZE] for start in range(0, len(images_NHWC), BATCH_SIZE))
    return np.concatenate([model(to_input(torch.from_numpy(batch))).numpy() for batch in batches])
