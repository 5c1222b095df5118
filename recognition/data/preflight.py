"""A look at a training set before a run begins: its labels, classes without images, a sample of images decoded.

Seconds for tens of millions of records: labels come from where they lie together, of the images only a sample is read.
`launch/records.py verify` reads them all.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from recognition.data.decode import decode_into
from recognition.data.record_format import EXACT_LABELS
from recognition.data.sources import JoinedSource, RecordSource, Source
from recognition.data.threads import map_in_order
from recognition.errors import InputError
from recognition.spread import spread

SAMPLE = 256
_NAMED = 5


@dataclass
class Preflight:
    """What was found: `facts` by name, `str` is a line with all of them, and `remarks` on what a user should know."""

    facts: dict[str, int | str] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return ", ".join(f"{name}: {value}" for name, value in self.facts.items())


def preflight(source: Source, *, image_size: int, tolerated: int = 0) -> Preflight:
    """Look at all labels, where that is cheap, and at a sample of the images; nothing is written.

    InputError, naming the first of them, when more than `tolerated` labels lie outside the classes, or when more than
    `tolerated` images of the sample cannot be read or have another size than `image_size` pixels.
    """
    found = Preflight({"images": len(source), "classes": int(source.num_classes)})
    labels_N = source.labels()
    sample = spread(len(source), SAMPLE)
    if labels_N is None:
        found.facts["labels"] = f"those of {len(sample)} images"
        found.remarks.append(
            f"labels are stored with the images alone: only those of {len(sample)} were looked at, and classes without "
            f"images would not be noticed; launch/records.py verify reads all"
        )
    else:
        _look_at_labels(source, labels_N, found, tolerated)
        # Float32 holds these with luck only; reading one tells whether the exact number is there.
        large = np.flatnonzero(labels_N >= EXACT_LABELS) if labels_N.max(initial=0) >= EXACT_LABELS else labels_N[:0]
        if len(large):
            found.facts["labels above 2^24"] = len(large)
            found.remarks.append(
                f"{len(large)} labels are {EXACT_LABELS} or more, which float32 rounds: MXNet and arcface_torch read "
                f"other labels there than arcscale"
            )
            sample = np.union1d(sample, large[spread(len(large), SAMPLE)])
    _look_at_images(source, sample, found, image_size, tolerated)
    _look_for_checks(source, found)
    return found


def _look_at_labels(source: Source, labels_N: np.ndarray, found: Preflight, tolerated: int) -> None:
    classes = source.num_classes
    outside = labels_N[:0]
    if labels_N.min() < 0 or labels_N.max() >= classes:
        outside = np.flatnonzero((labels_N < 0) | (labels_N >= classes))
        first = int(outside[0])
        problem = f"{source.describe(first)}: label {labels_N[first]} is outside the {classes} classes"
        if len(outside) > 1:
            problem += f", as are {len(outside) - 1} more labels of {labels_N.min()} to {labels_N.max()}"
        if len(outside) > tolerated:
            raise InputError(f"{problem}; set num_classes to at least {labels_N.max() + 1}, or pack the set again")
        found.remarks.append(f"{problem}; such images will be left out")
        labels_N = np.delete(labels_N, outside)
    counts_C = np.bincount(labels_N, minlength=classes)
    empty = np.flatnonzero(counts_C == 0)
    found.facts["labels"] = f"of all images, {len(outside)} outside the classes" if len(outside) else "of all images"
    found.facts["images of a class"] = f"{counts_C.min()} to {counts_C.max()}, median {np.median(counts_C):g}"
    found.facts["classes without images"] = len(empty)
    if len(empty):
        more = ", ..." if len(empty) > _NAMED else ""
        found.remarks.append(
            f"{len(empty)} of {classes} classes have no image: {', '.join(map(str, empty[:_NAMED]))}{more}; their "
            f"centres are trained as wrong answers only"
        )


def _look_at_images(source: Source, sample: np.ndarray, found: Preflight, image_size: int, tolerated: int) -> None:
    def problem(index: int) -> str:
        pixels_HWC = np.empty((image_size, image_size, 3), np.uint8)
        try:
            decode_into(pixels_HWC, source.read(index).payload, lambda: source.describe(index))
        except InputError as error:
            return str(error)
        return ""

    bad = [text for text in map_in_order(problem, sample.tolist()) if text]
    found.facts["images decoded"] = len(sample)
    found.facts["of these not readable"] = len(bad)
    if len(bad) > tolerated:
        others = f" (and {len(bad) - 1} more of the {len(sample)} images looked at)" if len(bad) > 1 else ""
        # Where most are bad the set is the wrong one; where a few are, a run can do without.
        remedy = (
            "; on_bad_record=skip trains without such images" if not tolerated and 2 * len(bad) < len(sample) else ""
        )
        raise InputError(bad[0] + others + remedy)
    if bad:
        found.remarks.append(
            f"{len(bad)} of {len(sample)} images looked at cannot be read: {'; '.join(bad[:_NAMED])}"
            + ("; ..." if len(bad) > _NAMED else "")
        )
        if len(bad) * len(source) > tolerated * len(sample):
            found.remarks.append(
                f"if the others are like them, more than the {tolerated} bad records that bad_record_share allows "
                f"will come, and the run will end"
            )


def _look_for_checks(source: Source, found: Preflight) -> None:
    """Tell of record files, alone or as parts of a set, without checksums of their records."""
    parts = source.parts if isinstance(source, JoinedSource) else (source,)
    readers = [part.reader for part in parts if isinstance(part, RecordSource)]
    unchecked = [reader.path for reader in readers if reader.checks is None]
    if unchecked:
        found.facts["checksums"] = "unchecked" if len(readers) == 1 else f"{len(unchecked)} files unchecked"
        more = f" (nor have {len(unchecked) - 1} files more)" if len(unchecked) > 1 else ""
        found.remarks.append(
            f"{unchecked[0]}: unchecked: it has no {unchecked[0].with_suffix('.crc').name}{more}, so a picture with a "
            f"flipped bit may pass as sound; launch/records.py verify --write-checks makes one"
        )
    elif readers:
        found.facts["checksums"] = "of every record"
