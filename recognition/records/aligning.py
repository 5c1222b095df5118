"""A folder of raw photos -> the same folder of aligned faces, and a list of the photos that have none."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import simplejpeg

from recognition.atomic import naming
from recognition.data.decode import Where
from recognition.errors import InputError
from recognition.faces import photos
from recognition.faces.photos import Aligner
from recognition.records.encode import Prepared, Rejected, failure_of, prepare_all
from recognition.records.failures import HTML, MOST_SHOWN, counts_of, write_failures
from recognition.records.layout import Written, new_folder
from recognition.records.listing import list_folder


@dataclass(frozen=True)
class FaceEncoder:
    """The `Prepare` that makes a JPEG of the aligned face in a photo; photos without one are rejected."""

    aligner: Aligner
    quality: int = 95
    # Thumbnails of some thousand rejected photos would fill journals and memory and not be shown.
    _shown: Counter[str] = field(default_factory=Counter, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not 1 <= self.quality <= 100:
            raise InputError(f"quality {self.quality} must be 1 to 100")

    def __call__(self, payload: bytes, where: Where) -> Prepared | Rejected:
        """The face in one photo."""
        found = self.aligner(payload, where)
        if isinstance(found, photos.Rejected):
            self._shown[found.reason] += 1
            thumbnail = found.thumbnail if self._shown[found.reason] <= MOST_SHOWN else b""
            # Lists of what was left out have the path in a column of its own.
            return Rejected(f"{found.reason}: {found.detail.removeprefix(f'{where()}: ')}", thumbnail)
        crop_SSC = np.ascontiguousarray(found.crop_SSC)
        return Prepared(simplejpeg.encode_jpeg(crop_SSC, self.quality, "RGB", "420"), crop_SSC.shape[:2])


def align_folder(
    folder: str | Path, out_dir: str | Path, encoder: FaceEncoder, *, workers: int | None = None
) -> Written:
    """Write the face of each photo of a folder per identity into a new folder `out_dir`, at the same relative path.

    Names of files that are no .jpg get that ending. Photos without a face are not written: failures.csv and
    failures.html in `out_dir` say why; identities of which no photo is left have no folder. InputError when `out_dir`
    exists and is not empty, and, with the lists written, when no face at all was found.
    """
    listing, out_dir = list_folder(folder), Path(out_dir)
    source = listing.source
    counts_C, failures = np.zeros(source.num_classes, np.int64), []
    with new_folder(out_dir) as aside:
        results = prepare_all(
            range(len(source)),
            lambda index: source.read(index).payload,
            source.describe,
            encoder,
            "aligning",
            workers=workers,
        )
        for path, label, result in zip(source.paths, source.labels().tolist(), results):
            if isinstance(result, Prepared):
                _write(aside / _jpeg_name(Path(path).relative_to(folder)), result.jpeg)
                counts_C[label] += 1
            else:
                failures.append(failure_of(result, path, label))
        write_failures(aside, failures)
    if not counts_C.any():
        raise InputError(f"{folder}: no face could be aligned ({counts_of(failures)}); {out_dir / HTML} shows why")
    remarks, empty = listing.remarks, np.flatnonzero(counts_C == 0)
    if len(empty):
        remarks += (f"{len(empty)} identities have no photo left, first {listing.names[empty[0]]}",)
    return Written(out_dir, int(counts_C.sum()), int((counts_C > 0).sum()), remarks, tuple(failures))


def _jpeg_name(name: Path) -> Path:
    return name if name.suffix.lower() in (".jpg", ".jpeg") else name.with_name(name.name + ".jpg")


def _write(path: Path, jpeg: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with naming(path), open(path, "xb") as file:  # x: two photos never become one file unnoticed
        file.write(jpeg)
