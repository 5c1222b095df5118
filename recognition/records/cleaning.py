"""A look at a training set through a trained recogniser: wrong labels, pictures of nobody, people under two labels."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from recognition.atomic import replacing, write_text
from recognition.data.decode import announced_size, decode_into
from recognition.data.sources import FileSource, RecordSource, Source
from recognition.data.threads import map_in_order
from recognition.data.transforms import to_input
from recognition.embedding.models import Embedder
from recognition.errors import InputError
from recognition.head.cleanliness import Neighbours, TargetCosines, nearest_others, robust_centers, similar_centers
from recognition.strict_json import finite

LOW_QUANTILE = 0.1
CLEAN, MISLABELLED, FAR, DUPLICATE = "clean", "mislabelled", "far", "duplicate"


@dataclass(frozen=True)
class Thresholds:
    """`trim`: share of each identity's images that its centre leaves out; `max_angle_deg`: beyond it an image is far.

    `duplicate_cos`: from this cosine on two centres are taken for one person.
    """

    trim: float = 0.3
    max_angle_deg: float = 75.0
    duplicate_cos: float = 0.7

    def __post_init__(self) -> None:
        for name, value, least, most in (
            ("trim", self.trim, 0, 0.99),
            ("max-angle", self.max_angle_deg, 0, 180),
            ("duplicate-cos", self.duplicate_cos, -1, 1),
        ):
            if not least <= value <= most:
                raise InputError(f"--{name} {value:g} must lie in [{least}, {most}]")


@dataclass(frozen=True)
class Cleanliness:
    """What was found: a verdict for each image, pairs of labels of one person, and numbers on each identity."""

    labels_N: np.ndarray
    near: Neighbours
    verdict_N: np.ndarray
    pairs_P2: np.ndarray
    pair_cos_P: np.ndarray
    cosines: TargetCosines
    thresholds: Thresholds = field(default_factory=Thresholds)

    def summary(self) -> dict:
        """The counts, for a table or JSON."""
        counts = self.cosines.count_C
        return {
            "images": len(self.labels_N),
            "identities": int((counts > 0).sum()),
            "mean_target_cosine": float(self.near.own_N.mean(dtype=np.float64)),
            **{name: int((self.verdict_N == name).sum()) for name in (MISLABELLED, FAR, DUPLICATE)},
            "duplicate_pairs": len(self.pairs_P2),
            "thresholds": asdict(self.thresholds),
        }


def judge(
    emb_ND: np.ndarray,
    labels_N: np.ndarray,
    num_classes: int,
    thresholds: Thresholds = Thresholds(),
    *,
    centers_CD: Tensor | None = None,
    device: torch.device | str = "cpu",
) -> Cleanliness:
    """Compare embeddings (N, D) with the centre of each identity, that of a trained head or else a trimmed mean.

    An image nearer to another centre than to its own is mislabelled, unless these two are one person: then its identity
    is a duplicate. One that is nearest to its own centre and yet beyond `max_angle_deg` is far: of no use, or no face.
    """
    if centers_CD is None:
        centers_CD = robust_centers(emb_ND, labels_N, num_classes, trim=thresholds.trim, device=device)
    else:
        centers_CD = F.normalize(centers_CD.to(device))
    near = nearest_others(emb_ND, labels_N, centers_CD)
    cosines = TargetCosines(len(labels_N), num_classes)
    cosines.add(np.arange(len(labels_N)), labels_N, near.own_N)
    verdict_N = np.full(len(labels_N), CLEAN, "U11")
    verdict_N[near.own_N < math.cos(math.radians(thresholds.max_angle_deg))] = FAR
    elsewhere = np.flatnonzero(near.other_N > near.own_N)
    own_E, nearest_E = (torch.from_numpy(label[elsewhere]).to(device) for label in (labels_N, near.nearest_N))
    one_person_E = torch.cosine_similarity(centers_CD[own_E], centers_CD[nearest_E]) >= thresholds.duplicate_cos
    verdict_N[elsewhere] = np.where(one_person_E.cpu().numpy(), DUPLICATE, MISLABELLED)
    pairs_P2, pair_cos_P = similar_centers(centers_CD, thresholds.duplicate_cos)
    return Cleanliness(labels_N, near, verdict_N, pairs_P2, pair_cos_P, cosines, thresholds)


def embed_source(
    model: Embedder, source: Source, out: Path, *, batch_size: int = 64, device: torch.device | str = "cpu"
) -> tuple[np.ndarray, np.ndarray]:
    """Unit embeddings of all images, (N, D) float16 in the file `out` (.npy, memory-mapped), and labels int64 (N,).

    Images are decoded by threads and held a batch at a time. InputError for a damaged picture or one of another size.
    """
    first = source.read(0)
    size = announced_size(first.payload, lambda: source.describe(0))
    model.require_size(*size, "the set")

    def decoded(index: int) -> tuple[np.ndarray, int]:
        sample, pixels_HWC = source.read(index), np.empty((*size, 3), np.uint8)
        decode_into(pixels_HWC, sample.payload, lambda: source.describe(index))
        return pixels_HWC, sample.label

    labels_N, emb_ND, place = np.empty(len(source), np.int64), None, 0
    images = map_in_order(decoded, range(len(source)))
    bar = tqdm(total=len(source), desc="embedding", unit="image", delay=2, disable=None)
    with torch.inference_mode(), replacing(out) as partial, bar:
        while batch := list(islice(images, batch_size)):
            images_BHWC = torch.from_numpy(np.stack([pixels for pixels, _ in batch])).to(device)
            emb_BD = F.normalize(model(to_input(images_BHWC))).half().cpu().numpy()
            if emb_ND is None:
                emb_ND = np.lib.format.open_memmap(partial, "w+", np.float16, (len(source), emb_BD.shape[1]))
            emb_ND[place : place + len(batch)] = emb_BD
            labels_N[place : place + len(batch)] = [label for _, label in batch]
            place += len(batch)
            bar.update(len(batch))
        emb_ND.flush()
    return emb_ND, labels_N


def write_cleanliness(out_dir: Path, found: Cleanliness, source: Source, model: dict) -> None:
    """images.csv, identities.csv, duplicates.csv and summary.json, whole or not at all each, into `out_dir`."""
    near, cosines = found.near, found.cosines
    names = _names(source)
    columns = (found.labels_N, near.own_N, near.nearest_N, near.other_N, found.verdict_N)
    head = ("image", "label", "own_cos", "nearest_other", "other_cos", "verdict")
    _write_csv(out_dir / "images.csv", head, zip(names, *columns))
    wrong_C, far_C, twice_C = (
        np.bincount(found.labels_N[found.verdict_N == name], minlength=len(cosines.count_C))
        for name in (MISLABELLED, FAR, DUPLICATE)
    )
    columns = (cosines.count_C, cosines.mean(), cosines.quantile(LOW_QUANTILE), wrong_C, far_C, twice_C)
    head = ("label", "images", "mean_cos", "low_cos", MISLABELLED, FAR, DUPLICATE)
    _write_csv(out_dir / "identities.csv", head, zip(range(len(cosines.count_C)), *columns))
    _write_csv(out_dir / "duplicates.csv", ("label", "other", "cos"), zip(*found.pairs_P2.T, found.pair_cos_P))
    write_text(out_dir / "summary.json", json.dumps(finite({**found.summary(), "model": model}), indent=2) + "\n")


def _names(source: Source) -> Iterable:
    """What a user knows the images by: keys of records, paths of files, else their places."""
    if isinstance(source, RecordSource):
        return source.keys
    return source.paths if isinstance(source, FileSource) else range(len(source))


def _write_csv(path: Path, head: tuple[str, ...], rows: Iterable[tuple]) -> None:
    with replacing(path) as partial, open(partial, "w", newline="", errors="surrogateescape") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(head)
        writer.writerows([f"{v:.4f}" if isinstance(v, (float, np.floating)) else v for v in row] for row in rows)
