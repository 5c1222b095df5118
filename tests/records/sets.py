"""Record sets of tests, as bytes and as what is in them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from recognition.data.recordio import RecordReader, RecordWriter


def files_of(folder: Path) -> dict[str, bytes]:
    """The bytes of every file in `folder`, hidden ones too."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def images_of(folder: Path) -> list[tuple[int, bytes]]:
    """(label, image) of the set in `folder`, in the order of the keys."""
    with RecordReader(folder / "train.rec") as reader:
        records = [reader.read(key) for key in reader.image_keys]
        return [(record.label, bytes(record.payload)) for record in records]


def write_plain(folder: Path, images: Sequence[tuple[int, bytes]], *, classes: int | None = None) -> Path:
    """A set as im2rec makes it, without header and identities, its keys from 0; `property` where `classes` is given."""
    folder.mkdir(parents=True, exist_ok=True)
    with RecordWriter(folder / "train.rec") as writer:
        for key, (label, image) in enumerate(images):
            writer.write(key, image, label, id=key)
    if classes is not None:
        (folder / "property").write_text(f"{classes},16,16")
    return folder
