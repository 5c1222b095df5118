"""Image files -> a record set in InsightFace's layout: in parallel, in a fixed order, and again from where it stopped.

The records grow in `train.rec.partial`; every so many images, or seconds, they are synced and `train.rec.journal` says
so. Killed or stopped, the same call goes on from there, and the set equals bit for bit one that was packed in one go.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from recognition.data.resuming import ResumableWriter, kept_aside
from recognition.data.sources import FileSource
from recognition.errors import InputError
from recognition.log import say
from recognition.records.encode import (
    Encoder,
    Failure,
    Prepare,
    Prepared,
    Rejected,
    failure_of,
    prepare_all,
    require_one_size,
)
from recognition.records.failures import LISTS as FAILURES
from recognition.records.failures import write_failures
from recognition.records.journal import Inputs, Journal, Point
from recognition.records.layout import NAMES, LayoutWriter, Written, describe, without_images
from recognition.records.listing import Listing, list_folder

PUBLISHED_SIZE = (112, 112)
# Whichever comes first: syncs this far apart cost nothing that shows, and finding faces in photos is slow.
IMAGES_TO_A_POINT = 8192
SECONDS_TO_A_POINT = 15.0


def pack_folder(
    folder: str | Path, out_dir: str | Path, *, image_size: int | None = None, fit: str = "pad", quality: int = 95
) -> Written:
    """Pack a folder per identity, in the order of their names, into `out_dir`; replaces a set that is there.

    JPEGs of the right size keep their bytes; everything else is fitted (encode.py) to `image_size` pixels square and
    becomes a JPEG of `quality`. With `image_size=None` all images must have one size already.
    """
    return pack(list_folder(folder), out_dir, prepare=Encoder(image_size, fit, quality))


def pack(
    listing: Listing,
    out_dir: str | Path,
    *,
    prepare: Prepare,
    skip_bad: bool = False,
    workers: int | None = None,
    images_to_a_point: int = IMAGES_TO_A_POINT,
    seconds_to_a_point: float = SECONDS_TO_A_POINT,
    tell: Callable[[str], None] = say,
) -> Written:
    """Pack what `prepare` makes of the listed images into `out_dir`; replaces a set that is there when all went well.

    The set is a function of the files, `prepare` and `skip_bad`, whatever the number of `workers` (threads). What
    `prepare` rejects is left out and listed in `failures.csv`. A picture that cannot be read, or is missing, is an
    InputError, or with `skip_bad` listed too. An identity that loses all its images keeps its label, and is named.
    """
    if workers is not None and workers < 1:
        raise InputError(f"{workers} workers cannot pack; give at least 1")
    rec, source = Path(out_dir) / "train.rec", listing.source
    inputs = Inputs(source, repr(prepare))
    if not skip_bad:
        inputs.require_all()
    with Journal(rec.with_name(rec.name + ".journal")) as journal:
        point = _resumed(journal, inputs, rec, skip_bad, tell)
        results = prepare_all(
            range(len(source)),
            lambda index: source.read(index).payload,
            source.describe,
            prepare,
            f"packing {rec}",
            done=point.done,
            workers=workers,
        )
        writer = ResumableWriter(rec, point.position)
        layout = LayoutWriter(writer, source.num_classes, _counted(source, point))
        progress = _Progress(point.done, point.size, list(point.failures))
        due_s = time.monotonic() + seconds_to_a_point
        try:
            for result in results:
                _write(layout, progress, result, source, skip_bad)
                if progress.done % images_to_a_point == 0 or time.monotonic() >= due_s:
                    reached = Point(progress.done, writer.sync(), progress.size, tuple(progress.failures))
                    journal.append(reached, inputs.digest(reached.done), known_failures=len(point.failures))
                    point, due_s = reached, time.monotonic() + seconds_to_a_point
            if not layout.num_images:
                first = progress.failures[0]
                raise InputError(
                    f"{rec}: not one of {len(source)} pictures can be packed; {first.path}: {first.reason}"
                )
            layout.finish()
            # A set that is there keeps its description until this one is on the disk; the two never disagree.
            writer.close(outdated=[rec.with_name(name) for name in ("property", NAMES, *FAILURES)])
        except BaseException:
            writer.abort()
            if journal.is_empty:
                writer.discard()
                journal.remove()
            else:
                tell(f"{point.done} of {len(source)} images are kept: the same command goes on from there")
            raise
        journal.remove()
    describe(rec.parent, source.num_classes, progress.size, listing.names)
    write_failures(rec.parent, progress.failures)
    remarks = (*size_remark(progress.size), *listing.remarks, *without_images(layout.counts_C, listing.names))
    return Written(rec, layout.num_images, source.num_classes, remarks, tuple(progress.failures))


def _resumed(journal: Journal, inputs: Inputs, rec: Path, skip_bad: bool, tell: Callable[[str], None]) -> Point:
    begun = not journal.is_empty
    point = journal.resume(inputs, kept=kept_aside(rec), skip_bad=skip_bad)
    if point.done:
        tell(f"{rec}: goes on after the {point.done} images that were packed before")
    elif begun:
        tell(f"{rec}: starts anew, since other pictures or settings were being packed before")
    return point


def _counted(source: FileSource, point: Point) -> np.ndarray:
    """Images of each identity, int64 (C,), that are in the records at `point`."""
    counts_C = np.bincount(source.labels()[: point.done], minlength=source.num_classes)
    for failure in point.failures:
        counts_C[failure.label] -= 1
    return counts_C.astype(np.int64)


@dataclass
class _Progress:
    """The first `done` images are written or among `failures`; `size` is (height, width) of those written."""

    done: int
    size: tuple[int, int] | None
    failures: list[Failure]


def _write(
    layout: LayoutWriter,
    progress: _Progress,
    result: Prepared | Rejected | InputError,
    source: FileSource,
    skip_bad: bool,
) -> None:
    """Add the next image to the layout, or to the failures."""
    index, label = progress.done, int(source.labels()[progress.done])
    if isinstance(result, Prepared):
        progress.size = require_one_size(result.size, progress.size, partial(source.describe, index))
        layout.add(label, result.jpeg)
    elif skip_bad or isinstance(result, Rejected):
        progress.failures.append(failure_of(result, source.paths[index], label))
    else:
        raise InputError(f"{result}; --skip-bad leaves such pictures out") from result
    progress.done += 1


def size_remark(size: tuple[int, int]) -> tuple[str, ...]:
    """The remark on pictures of `size`, (height, width), that is not the usual one."""
    if size == PUBLISHED_SIZE:
        return ()
    return (f"the pictures are {size[1]}x{size[0]}, published networks take 112x112: --image-size 112 resizes them",)
