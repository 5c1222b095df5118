"""IJB-B and IJB-C: people as templates of several pictures and frames, compared 1:1 and searched for 1:N."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from recognition.data.decode import decoded
from recognition.data.sources.files import read_image_file
from recognition.embedding.files import square_side
from recognition.embedding.finding import Finding
from recognition.embedding.models import Embedder
from recognition.embedding.over_ranks import embed_images
from recognition.embedding.symptoms import require_finite
from recognition.errors import InputError
from recognition.faces.alignment import SIZE, align
from recognition.identification.counted import People, share_difference
from recognition.identification.rates import Rates, rates_of
from recognition.identification.search import search_gallery
from recognition.runtime import Runtime
from recognition.spread import spread
from recognition.targets.target import Options
from recognition.templates.lists import (
    Faces,
    Subjects,
    TemplatePairs,
    read_faces,
    read_template_pairs,
    search_lists,
)
from recognition.templates.nearest import tar_at_nearest_far
from recognition.templates.pooling import pool_templates, template_cosines
from recognition.verification.comparison import Comparison, judged
from recognition.verification.curves import (
    FARS,
    OperatingPoint,
    area_under,
    equal_error_rate,
    operating_points,
    roc_curve,
)
from recognition.verification.intervals import wilson_interval

MAX_POINTS = 1000
BY_TEMPLATE = "paired by first template"


class AlignedPictures:
    """Pictures of a `loose_crop` folder, aligned by their five points to `size` pixels square when asked for."""

    def __init__(self, folder: Path, faces: Faces, size: int) -> None:
        self.folder, self.faces, self.size = folder, faces, (size, size)

    def __len__(self) -> int:
        return len(self.faces.names)

    def __getitem__(self, index: int) -> np.ndarray:
        path = str(self.folder / self.faces.names[index])
        pixels_HWC = decoded(read_image_file(path), lambda: path)
        # Exactly norm_crop: the published figures were taken so.
        return align(pixels_HWC, self.faces.points_N52[index], size=self.size[0], antialias=False)


@dataclass(frozen=True)
class TemplatesOutcome:
    """What a model made of the templates: the 1:1 figures, and those of 1:N where its lists are there."""

    points: tuple[OperatingPoint, ...]
    people: People
    far: np.ndarray
    tar: np.ndarray
    distances: np.ndarray
    histogram: dict[str, np.ndarray]
    genuine: int
    impostor: int
    images: int
    templates: int
    identification: dict[str, Any] | None
    xnorm: float
    findings: Sequence[Finding] = ()

    @property
    def warnings(self) -> Sequence[str]:
        """That 1:N was left out, where it was."""
        return () if self.identification else ("the 1:N lists are not there: templates were compared 1:1 only",)

    def line(self) -> str:
        """TAR at the FARs that the comparisons can tell, and ranks."""
        tar = "".join(f"  TAR@{point.far:g} {point.tar:.4f}" for point in self.points if point.tar is not None)
        ranks = "".join(f"  rank-{k} {v:.4f}" for k, v in (self.identification or {"ranks": {}})["ranks"].items())
        counts = f"{self.images:,} images, {self.templates:,} templates, {self.genuine + self.impostor:,} comparisons"
        return f"templates{tar}{ranks}  XNorm {self.xnorm:.2f}  ({counts})"

    def facts(self) -> dict[str, Any]:
        """As report.schema.json has them for templates; `tar_at_nearest_far` is how published figures are read off."""
        keep = spread(len(self.far), MAX_POINTS)
        nearest = tar_at_nearest_far(self.far, self.tar, self.impostor, self.genuine, FARS)
        return {
            "images": self.images,
            "templates": self.templates,
            "genuine": self.genuine,
            "impostor": self.impostor,
            "operating_points": [self._point(place, point) for place, point in enumerate(self.points)],
            "tar_at_nearest_far": {f"{far:g}": value for far, value in nearest.items()},
            "auc": area_under(self.far, self.tar),
            "eer": equal_error_rate(self.far, self.tar),
            "xnorm": self.xnorm,
            "roc": {"far": self.far[keep], "tar": self.tar[keep], "distance": self.distances[keep]},
            "histogram": self.histogram,
            "identification": self.identification,
            "diagnosis": [finding.facts() for finding in self.findings],
        }

    def _point(self, place: int, point: OperatingPoint) -> dict[str, Any]:
        low = high = None
        if point.tar is not None:
            low, high = wilson_interval(point.tar, self.people.effective_pairs(place))
        return asdict(point) | {"low": low, "high": high}


class TemplatesTarget:
    """IJB-B or IJB-C under a name."""

    kind: ClassVar[str] = "templates"

    def __init__(
        self,
        name: str,
        pictures: AlignedPictures,
        pairs: TemplatePairs,
        search: tuple[list[Subjects], Subjects] | None,
    ) -> None:
        self.name, self.pictures, self.pairs, self.search = name, pictures, pairs, search

    def require_fit(self, model: Embedder) -> None:
        """InputError unless the model takes square pictures, to which they are aligned."""
        self._pictures_for(model)

    def _pictures_for(self, model: Embedder) -> AlignedPictures:
        side = square_side(model.size or self.pictures.size)
        return AlignedPictures(self.pictures.folder, self.pictures.faces, side)

    def score(self, model: Embedder, *, runtime: Runtime, batch_size: int = 64) -> TemplatesOutcome:
        """Embed every picture, pool them into templates, compare and search; all ranks get the same outcome.

        f(x) + f(mirrored x), times the detector's score, is pooled, as InsightFace's published figures are.
        """
        pictures = self._pictures_for(model)
        embedded = embed_images(model, pictures, runtime=runtime, batch_size=batch_size, title=self.name)
        faces, pairs = self.pictures.faces, self.pairs
        require_finite(embedded.emb_ND)
        emb_TD, templates_T = pool_templates(embedded.emb_ND, faces.template_N, faces.media_N, faces.score_N)
        cosines_P = template_cosines(emb_TD, templates_T, pairs.first_P, pairs.second_P).astype(np.float64)
        far, tar, at = roc_curve(2 - 2 * cosines_P, pairs.issame_P)
        genuine, impostor = 2 - 2 * cosines_P[pairs.issame_P], 2 - 2 * cosines_P[~pairs.issame_P]
        points = operating_points(genuine, impostor)
        return TemplatesOutcome(
            points,
            _people(pairs, genuine, points),
            far,
            tar,
            at,
            _histogram(cosines_P, pairs.issame_P),
            len(genuine),
            len(impostor),
            len(faces.names),
            len(templates_T),
            None if self.search is None else _identified(emb_TD, templates_T, *self.search),
            embedded.xnorm,
        )

    def compare(self, outcomes: Sequence[TemplatesOutcome]) -> list[dict[str, Any]]:
        """TAR at each FAR, each model at its own threshold; paired by the first template of a comparison."""
        entries = [
            Comparison(first, second, f"tar@{far:g}", *found, found.p_value, BY_TEMPLATE, "")
            for first, second in combinations(range(len(outcomes)), 2)
            for place, far in enumerate(FARS)
            if outcomes[first].points[place].tar is not None
            for found in [share_difference(outcomes[first].people, outcomes[second].people, place)]
        ]
        return [asdict(entry) for entry in judged(entries)]

    def picture(self, index: int) -> np.ndarray | None:
        """Picture `index` of the list, aligned."""
        return self.pictures[index]


def open_ijb(prefix: str, name: str, path: Path, options: Options) -> TemplatesTarget:
    """The folder with `meta` and `loose_crop`; InputError for lists that are missing, not as published, or disagree."""
    faces, pairs = read_faces(path, prefix), read_template_pairs(path, prefix)
    search = search_lists(path, prefix)
    known = np.unique(faces.template_N)
    asked = [pairs.first_P, pairs.second_P]
    if search is not None:
        asked += [subjects.template_T for subjects in (*search[0], search[1])]
    for templates in asked:
        if len(unknown := np.setdiff1d(templates, known)):
            raise InputError(
                f"{path}: template {unknown[0]} is compared, but {prefix}_face_tid_mid.txt has no picture of it"
            )
    return TemplatesTarget(name, AlignedPictures(path / "loose_crop", faces, SIZE), pairs, search)


IJB = {prefix: partial(open_ijb, prefix) for prefix in ("ijbb", "ijbc")}


def _people(pairs: TemplatePairs, genuine: np.ndarray, points: Sequence[OperatingPoint]) -> People:
    """Genuine comparisons by their first template, which is its person's enrolment."""
    _, index = np.unique(pairs.first_P[pairs.issame_P], return_inverse=True)
    limits = [-np.inf if point.threshold is None else point.threshold for point in points]
    accepted = [np.bincount(index, genuine < limit).astype(np.int64) for limit in limits]
    return People(np.bincount(index), np.stack(accepted, axis=1))


def _histogram(cosines_P: np.ndarray, issame_P: np.ndarray) -> dict[str, np.ndarray]:
    edges = np.linspace(min(cosines_P.min(), 0), max(cosines_P.max(), 0.1), 65)
    genuine, impostor = (np.histogram(cosines_P[kind], edges)[0] for kind in (issame_P, ~issame_P))
    return {"cosine_edges": edges, "genuine": genuine, "impostor": impostor}


def _identified(
    emb_TD: np.ndarray, templates_T: np.ndarray, galleries: list[Subjects], probes: Subjects
) -> dict[str, Any]:
    """Ranks in both galleries together; DIR at FPIR in each alone, where the other's people are strangers, averaged.

    The first is how InsightFace reads rank-k off, the second NIST's open-set test.
    """

    def rows(subjects: Subjects) -> np.ndarray:
        return emb_TD[np.searchsorted(templates_T, subjects.template_T)]

    def rates(chosen: list[Subjects]) -> Rates:
        gallery_GD = np.concatenate([rows(subjects) for subjects in chosen])
        people_G = np.concatenate([subjects.subject_T for subjects in chosen])
        return rates_of(search_gallery(gallery_GD, people_G, rows(probes), probes.subject_T))

    together, alone = rates(galleries), [rates([gallery]) for gallery in galleries]
    open_set = []
    for points in zip(*(each.open_set for each in alone)):
        shares = [point.dir for point in points]
        known = None not in shares
        open_set.append(
            {
                "fpir": points[0].fpir,
                "dir": float(np.mean(shares)) if known else None,
                "low": float(np.mean([point.low for point in points])) if known else None,
                "high": float(np.mean([point.high for point in points])) if known else None,
                "threshold": None,
                "allowed_false_accepts": min(point.allowed_false_accepts for point in points),
                "flag": next((point.flag for point in points if point.flag), None),
            }
        )
    people = np.unique(np.concatenate([gallery.subject_T for gallery in galleries]))
    return {
        "gallery_subjects": len(people),
        "gallery_images": sum(len(gallery.template_T) for gallery in galleries),
        "mated_probes": together.mated,
        "nonmated_probes": sum(each.nonmated for each in alone),
        "ranks": {str(rank): share for rank, share in together.ranks.items()},
        "rank_intervals": {str(rank): interval for rank, interval in together.rank_intervals.items()},
        "cmc": together.cmc,
        "mean_average_precision": together.mean_average_precision,
        "open_set": open_set,
    }
