"""Photos -> a table of embeddings, part by part: a run that was stopped goes on where it was."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from recognition.embedding.models import Embedder
from recognition.embedding.over_ranks import embed_images
from recognition.faces.alignment import SIZE
from recognition.faces.photos import Aligner
from recognition.gallery.parts import PHOTOS_A_PART, Part, Parts
from recognition.gallery.photos import FacePictures, Photos
from recognition.gallery.table import write_table
from recognition.runtime import Runtime


@dataclass(frozen=True)
class Made:
    """How many photos became rows of the table, how many did not, and how many parts were there from before."""

    rows: int
    failures: int
    parts_found: int


def embed_photos(
    model: Embedder,
    photos: Photos,
    out: Path,
    *,
    facts: dict[str, Any],
    aligner: Aligner | None,
    runtime: Runtime,
    batch_size: int = 64,
    photos_a_part: int = PHOTOS_A_PART,
) -> Made:
    """Write the table `out` of all photos (see table.py); all ranks embed their share of each part.

    Rows and failures together are the photos. Parts lie in OUT.parts until the table is whole. InputError as the parts
    and the table have them, and for a model of another size than the aligned faces.
    """
    height, width = model.size or (SIZE, SIZE)
    facts = {**facts, "photos": len(photos), "photos_a_part": photos_a_part}
    if runtime.is_main:
        Parts(out, facts)
    runtime.wait_for_all("the parts of the table")
    starts, parts = range(0, len(photos), photos_a_part), Parts(out, facts)
    found = [number for number in range(len(starts)) if parts.has(number)]
    runtime.wait_for_all("a look at the parts of the table")
    hidden = None if runtime.is_main else True
    for number in tqdm(range(len(starts)), "embedding", unit="part", delay=2, disable=hidden):
        if number in found:
            continue
        indices = range(starts[number], min(starts[number] + photos_a_part, len(photos)))
        pictures = FacePictures(photos, indices, (height, width), aligner)
        embedded = embed_images(model, pictures, runtime=runtime, batch_size=batch_size, title=f"part {number}")
        failures, faces = pictures.gathered(runtime)
        if runtime.is_main:
            parts.write(number, _part(photos, indices, embedded.emb_ND, failures, faces))
    runtime.wait_for_all("the table")
    if not runtime.is_main:
        return Made(0, 0, len(found))
    rows, failed = write_table(out, parts.read(len(starts)), facts)
    parts.remove()
    return Made(rows, failed, len(found))


def _part(photos: Photos, indices: range, emb_ND: np.ndarray, failures: dict[int, str], faces: dict) -> Part:
    usable, failures = list(faces), dict(failures)
    norm_N = np.linalg.norm(emb_ND, axis=1)
    for place in [place for place in usable if not (np.isfinite(norm_N[place]) and norm_N[place] > 0)]:
        usable.remove(place)
        failures[place] = "the embedding is zero, NaN or infinite"
    kept = [indices[place] for place in usable]
    return Part(
        (emb_ND[usable] / norm_N[usable, None]).astype(np.float32),
        norm_N[usable].astype(np.float32),
        [photos.path(index) for index in kept],
        [photos.label(index) for index in kept],
        [faces[place] for place in usable],
        [(photos.path(indices[place]), failures[place]) for place in sorted(failures)],
    )
