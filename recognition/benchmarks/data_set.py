"""The set that data benchmarks read: drawn faces in a temporary folder, or a set that a user names."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import simplejpeg

from recognition.data.decode import announced_size
from recognition.data.order import sample_ids
from recognition.data.recordio import RecordWriter, rec_path
from recognition.data.sources import RecordSource
from recognition.data.synthetic import TRAINING, FaceRenderer
from recognition.errors import InputError

IMAGE_SIZE, QUALITY, SUBSAMPLING = 112, 95, "420"
IMAGES_OF_IDENTITY = 8
SEED = 0


@dataclass(frozen=True)
class DataCase:
    """Images that a pass reads from `rec`, a multiple of `batch`; `image_idx` indexes these alone, for DALI."""

    rec: Path
    image_idx: Path
    images: int
    batch: int
    image_size: int

    @property
    def steps(self) -> int:
        """Batches in a pass."""
        return self.images // self.batch

    def ids(self, source: RecordSource) -> np.ndarray:
        """The samples of a pass, int64 (images,), in the order in which the loader takes them."""
        return sample_ids(np.arange(self.images), num_samples=len(source), seed=SEED)


@contextmanager
def opened_case(rec: Path | None, *, images: int, batch: int, image_size: int = IMAGE_SIZE) -> Iterator[DataCase]:
    """At most `images` of `rec`, a `.rec` or the folder of a train.rec; None: that many faces, drawn for this block.

    InputError where there are too few images for a batch.
    """
    with tempfile.TemporaryDirectory(prefix="data-") as scratch:
        if rec is None:
            rec = Path(scratch) / "train.rec"
            write_faces(rec, images, image_size)
        source = RecordSource(rec_path(str(rec)))
        whole = min(images, len(source)) // batch * batch
        if not whole:
            raise InputError(f"{min(images, len(source))} images do not fill a batch of {batch}; lower --batch")
        height, width = announced_size(source.read(0).payload, lambda: source.describe(0))
        if height != width:
            raise InputError(f"{source.describe(0)}: the image is {width}x{height} pixels; name a set of square ones")
        case = DataCase(source.reader.path, Path(scratch) / "images.idx", whole, batch, height)
        keys = np.sort(source.keys[case.ids(source)]).tolist()
        case.image_idx.write_text("".join(f"{key}\t{source.reader.offset(key)}\n" for key in keys))
        yield case


def write_faces(rec: Path, images: int, image_size: int) -> None:
    """Drawn faces in InsightFace's layout: a header, the images, a record of each identity."""
    renderer = FaceRenderer(image_size)
    identities = -(-images // IMAGES_OF_IDENTITY)
    with RecordWriter(rec) as writer:
        writer.write(0, b"", [images + 1, images + 1 + identities])
        for index in range(images):
            label = index // IMAGES_OF_IDENTITY
            pixels_HWC = renderer.draw(SEED, TRAINING, label, index)
            writer.write(index + 1, simplejpeg.encode_jpeg(pixels_HWC, QUALITY, "RGB", SUBSAMPLING), label)
        for label in range(identities):
            first = 1 + label * IMAGES_OF_IDENTITY
            writer.write(images + 1 + label, b"", [first, min(first + IMAGES_OF_IDENTITY, images + 1)])
