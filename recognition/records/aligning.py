"""A folder of raw photos -> the same folder of aligned faces, and a list of the photos that have none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import simplejpeg
from tqdm import tqdm

from recognition.atomic import naming
from recognition.data.decode import Where
from recognition.data.sources import FolderSource
from recognition.data.threads import map_in_order
from recognition.errors import InputError
from recognition.faces.photos import UNREADABLE, Aligned, Rejected
from recognition.records.left_out import HTML, left_out_in
from recognition.records.packing import new_folder

FindFace = Callable[[bytes, Where], Aligned | Rejected]


@dataclass(frozen=True)
class AlignedFolder:
    """What came of a folder of photos, and the remarks that a user should read."""

    path: Path
    num_photos: int
    num_aligned: int
    num_classes: int
    remarks: tuple[str, ...] = ()


def face_jpeg(find_face: FindFace, payload: bytes, where: Where, *, quality: int = 95) -> bytes | Rejected:
    """The aligned face in a photo as a JPEG, or why there is none."""
    found = find_face(payload, where)
    if isinstance(found, Rejected):
        return found
    return simplejpeg.encode_jpeg(np.ascontiguousarray(found.crop_SSC), quality, "RGB", "420")


def align_folder(photos: str | Path, out_dir: str | Path, find_face: FindFace, *, quality: int = 95) -> AlignedFolder:
    """Write the face of each photo of a folder per identity into a new folder `out_dir`, at the same relative path.

    Names of files that are no .jpg get that ending. Photos without a face are not written: failures.csv and
    failures.html in `out_dir` say why; identities of which no photo is left have no folder. InputError when `out_dir`
    exists and is not empty, and, with the lists written, when no face at all was found.
    """
    source, out_dir = FolderSource(photos), Path(out_dir)
    if not 1 <= quality <= 100:
        raise InputError(f"quality {quality} must be 1 to 100")

    def aligned(index: int) -> bytes | Rejected:
        try:
            payload = source.read(index).payload
        except InputError as error:
            return Rejected(UNREADABLE, str(error))
        return face_jpeg(find_face, payload, partial(source.describe, index), quality=quality)

    kept_C = np.zeros(source.num_classes, np.int64)
    with new_folder(out_dir) as aside, left_out_in(aside) as left_out:
        faces = map_in_order(aligned, range(len(source)))
        for index, face in enumerate(tqdm(faces, "aligning", len(source), unit="photo", delay=1, disable=None)):
            name = Path(source.paths[index]).relative_to(photos)
            if isinstance(face, Rejected):
                left_out.add(str(name), face)
                continue
            target = aside / _jpeg_name(name)
            target.parent.mkdir(parents=True, exist_ok=True)
            with naming(target), open(target, "xb") as file:  # x: two photos never become one file unnoticed
                file.write(face)
            kept_C[source.labels[index]] += 1
    if not kept_C.any():
        raise InputError(f"{photos}: no face could be aligned ({left_out}); {out_dir / HTML} shows the photos")
    remarks = []
    if left_out.counts:
        remarks.append(f"{left_out.counts.total()} photos were left out ({left_out}); {out_dir / HTML} shows them")
    if (empty := np.flatnonzero(kept_C == 0)).size:
        first = Path(source.paths[int(np.argmax(source.labels == empty[0]))]).relative_to(photos).parts[0]
        remarks.append(f"{len(empty)} identities have no photo left, first {first}")
    if source.skipped:
        remarks.append(f"{len(source.skipped)} files are no pictures by their suffix, first {source.skipped[0]}")
    return AlignedFolder(out_dir, len(source), int(kept_C.sum()), int((kept_C > 0).sum()), tuple(remarks))


def _jpeg_name(name: Path) -> Path:
    return name if name.suffix.lower() in (".jpg", ".jpeg") else name.with_name(name.name + ".jpg")
