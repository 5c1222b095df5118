"""What was found in a record set, as text for people and as facts for programs.

Problems are what training would stumble over. Remarks are for a person to judge: published sets have them, too.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from recognition.data.record_format import EXACT_LABELS
from recognition.records.duplicates import Duplicates
from recognition.records.mean_face import Alignment
from recognition.strict_json import finite

SCHEMA = "arcscale.records.1"
MOST_PROBLEMS = 20
MOST_NAMED = 5
UNREADABLE = -1


@dataclass
class Inspection:
    """Counts of a record set, and the first problems; `num_problems` counts all of them.

    `classes` are the labels that have images, ascending, and `images_per_class` how many each has, both int64. `sizes`
    are (height, width) of the images that were looked at. `has_checks`: every byte was compared with train.crc.
    """

    path: Path
    num_records: int
    num_classes: int | None
    has_checks: bool = False
    num_images: int = 0
    image_bytes: int = 0
    classes: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    images_per_class: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    sizes: dict[tuple[int, int], int] = field(default_factory=dict)
    duplicates: Duplicates | None = None
    alignment: Alignment | None = None
    num_problems: int = 0
    problems: list[str] = field(default_factory=list)

    def add_problem(self, problem: str) -> None:
        """Count a problem and keep its description while there are few."""
        self.num_problems += 1
        if len(self.problems) < MOST_PROBLEMS:
            self.problems.append(problem)

    def count_classes(self, labels: np.ndarray) -> None:
        """Take the labels (int64) of all images; UNREADABLE ones do not count."""
        self.classes, self.images_per_class = np.unique(labels[labels != UNREADABLE], return_counts=True)

    @property
    def empty_classes(self) -> np.ndarray:
        """Labels (int64) below the stated number of classes that have no image."""
        return np.setdiff1d(np.arange(self.num_classes or 0), self.classes, assume_unique=True)

    @property
    def remarks(self) -> list[str]:
        """What a person should know and judge."""
        remarks = []
        if len(empty := self.empty_classes):
            remarks.append(f"{len(empty)} classes have no image: {_first(empty)}")
        if lossy := int(self.images_per_class[self.classes >= EXACT_LABELS].sum()):
            remarks.append(
                f"{lossy} images have labels from {EXACT_LABELS} on: exact here (id2), but rounded to float32 in "
                "MXNet, DALI and arcface_torch"
            )
        if self.duplicates is not None:
            remarks += self.duplicates.remarks()
        return remarks

    def histogram(self) -> list[tuple[int, int, int]]:
        """(fewest, most, classes): how many classes have 1, 2 to 3, 4 to 7, ... images."""
        powers = np.bincount(np.frexp(self.images_per_class.astype(np.float64))[1] - 1)
        return [(1 << power, (2 << power) - 1, int(count)) for power, count in enumerate(powers) if count]

    def facts(self) -> dict[str, Any]:
        """All of it as JSON can hold it."""
        counts, empty = self.images_per_class, self.empty_classes
        spread = {"min": counts.min(), "median": np.median(counts), "max": counts.max()} if len(counts) else None
        return finite(
            {
                "schema": SCHEMA,
                "path": str(self.path),
                "records": self.num_records,
                "images": self.num_images,
                "image_bytes": self.image_bytes,
                "has_checks": self.has_checks,
                "classes": self.num_classes,
                "classes_with_images": len(counts),
                "empty_classes": {"count": len(empty), "first": empty[:MOST_PROBLEMS]},
                "images_per_class": spread,
                "histogram": [dict(zip(("fewest", "most", "classes"), row)) for row in self.histogram()],
                "sizes": [{"width": w, "height": h, "images": n} for (h, w), n in sorted(self.sizes.items())],
                "duplicates": None if self.duplicates is None else self.duplicates.facts(),
                "alignment": None if self.alignment is None else _alignment_facts(self.alignment),
                "remarks": self.remarks,
                "num_problems": self.num_problems,
                "problems": self.problems,
            }
        )

    def __str__(self) -> str:
        counts = self.images_per_class
        stated = "not stated (no property file)" if self.num_classes is None else str(self.num_classes)
        lines = [f"{self.path}: {self.num_records} records, {self.num_images} images", f"  classes: {stated}"]
        if len(counts):
            spread = f"{counts.min()} / {np.median(counts):g} / {counts.max()}"
            lines.append(f"  classes with images: {len(counts)}; images in each: {spread} (min / median / max)")
            lines.append(f"  classes by their images: {', '.join(_bin(*row) for row in self.histogram())}")
            lines.append(f"  mean image: {self.image_bytes / self.num_images:.0f} bytes")
        if self.sizes:
            sizes = (f"{width}x{height} ({count})" for (height, width), count in sorted(self.sizes.items()))
            lines.append(f"  image sizes: {', '.join(sizes)}")
        unchecked = "unchecked: no train.crc, so a changed byte inside an image can go unseen"
        lines.append(f"  checksums: {'train.crc' if self.has_checks else unchecked}")
        if self.alignment is not None:
            lines.append(f"  faces: {self.alignment.verdict}")
        lines += [f"  remark: {remark}" for remark in self.remarks]
        lines += [f"  problem: {problem}" for problem in self.problems]
        if self.num_problems > len(self.problems):
            lines.append(f"  ... and {self.num_problems - len(self.problems)} more problems")
        return "\n".join(lines)


def _alignment_facts(alignment: Alignment) -> dict[str, Any]:
    return {**asdict(alignment), "verdict": alignment.verdict}


def _bin(fewest: int, most: int, classes: int) -> str:
    return f"{classes} with {fewest}" if fewest == most else f"{classes} with {fewest} to {most}"


def _first(labels: np.ndarray) -> str:
    return ", ".join(map(str, labels[:MOST_NAMED])) + (", ..." if len(labels) > MOST_NAMED else "")
