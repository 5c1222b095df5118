"""The undamaged sets that the fuzz begins with: one of ours with everything in it, and what MXNet wrote."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from recognition.data.record_checks import write_checks
from recognition.data.record_format import FRAME, MAGIC_BYTES, MAX_BYTES
from recognition.data.recordio import RecordReader, RecordWriter
from tests.data.small_records import RECORDS
from tests.pictures import encoded

FILES = ("train.rec", "train.idx", "train.crc", "property")
OUR_SIZE, MXNET_SIZE = 16, 112


@dataclass(frozen=True)
class Base:
    """A set as it was before the damage: its files, where records and frames begin, and what its images are."""

    name: str
    image_size: int
    num_classes: int
    files: dict[str, bytes]
    offsets: dict[int, int]  # of each key
    frames: list[int]  # offsets of all frames
    images: dict[int, tuple[bytes, int]]  # payload and label of each image key


def make_bases(folder: Path) -> list[Base]:
    """The sets, their files made in `folder`."""
    (folder / "ours").mkdir()
    _write_ours(folder / "ours")
    for layout in ("insightface", "im2rec", "multipart", "vector_label"):
        shutil.copytree(RECORDS / layout, folder / layout)
        with RecordReader(folder / layout / "train.rec") as reader:
            write_checks(reader)
    return [_base(path) for path in sorted(folder.iterdir())]


def _base(folder: Path) -> Base:
    files = {name: (folder / name).read_bytes() for name in FILES if (folder / name).exists()}
    with RecordReader(folder / "train.rec") as reader:
        offsets = dict(zip(reader.keys.tolist(), reader.offsets.tolist()))
        records = [reader.read(key) for key in reader.image_keys]
        images = {record.key: (bytes(record.payload), record.label) for record in records}
        del records
    size = OUR_SIZE if folder.name == "ours" else MXNET_SIZE
    num_classes = max(label for _, label in images.values()) + 1
    return Base(folder.name, size, num_classes, files, offsets, _frames(files["train.rec"]), images)


def _frames(data: bytes) -> list[int]:
    offsets = [0]
    while (at := offsets[-1]) < len(data):
        length = FRAME.unpack_from(data, at)[1] & MAX_BYTES
        offsets.append(at + FRAME.size + length + -length % 4)
    return offsets[:-1]


def _write_ours(folder: Path) -> None:
    """InsightFace's layout; label vectors, PNG, WebP and grey JPEGs, and images that hold the magic and are split."""
    rng = np.random.default_rng(0)
    payloads = []
    for image in range(12):
        pixels = rng.integers(0, 256, (OUR_SIZE, OUR_SIZE, 3), np.uint8)
        kind = ("JPEG", "JPEG", "PNG", "JPEG", "WEBP", "JPEG")[image % 6]
        payload = encoded(pixels[:, :, 0] if image % 6 == 3 else pixels, kind)
        if image % 3 == 1:  # bytes after the end of an image are no part of it
            payload += bytes(-len(payload) % 4) + MAGIC_BYTES + b"abcd" + 2 * MAGIC_BYTES
        payloads.append(payload)
    with RecordWriter(folder / "train.rec") as writer:
        writer.write(0, b"", [13, 13 + 6])
        for image, payload in enumerate(payloads):
            label = image // 2
            writer.write(image + 1, payload, [label, 0.5] if image == 7 else label, id=image + 1)
        for label in range(6):
            writer.write(13 + label, b"", [1 + 2 * label, 3 + 2 * label], id=13 + label)
    (folder / "property").write_text(f"6,{OUR_SIZE},{OUR_SIZE}")
