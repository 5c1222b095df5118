"""Photos with faces at known places: aligned crops of real people, turned and scaled onto a wall."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from recognition.data.recordio import RecordReader
from tests.pictures import pil_pixels


def crops_of_faces(shared_dir: Path, count: int, *, each: int = 1) -> list[np.ndarray]:
    """`each` aligned crops, uint8 (112, 112, 3), of `count` people; skips where the reference data has none."""
    path = shared_dir / "data" / "lfw" / "train" / "train.rec"
    if not path.is_file():
        pytest.skip(f"no {path}")
    with RecordReader(path) as reader:
        labels = np.array([reader.read(key).label for key in reader.image_keys[:400]])
        firsts = np.searchsorted(labels, np.arange(count))
        keys = [int(reader.image_keys[first + number]) for first in firsts for number in range(each)]
        return [pil_pixels(reader.read(key).payload) for key in keys]


def wall(width: int, height: int, seed: int = 0) -> np.ndarray:
    """Soft colours, uint8 (height, width, 3)."""
    coarse = np.random.default_rng(seed).integers(60, 190, (6, 8, 3), np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


def to_photo(x: float, y: float, scale: float, angle_deg: float) -> np.ndarray:
    """Pixels of a crop -> pixels of the photo, (2, 3): the crop's middle comes to (x, y), turned clockwise."""
    c, s = scale * np.cos(np.radians(angle_deg)), scale * np.sin(np.radians(angle_deg))
    linear = np.array([[c, -s], [s, c]])
    return np.column_stack([linear, np.array([x, y]) - linear @ (55.5, 55.5)])


def paste(picture: np.ndarray, crop: np.ndarray, x: float, y: float, scale: float, angle_deg: float) -> np.ndarray:
    """The picture with the crop around (x, y), `scale` times as large and turned; by Pillow, not by what is tested."""
    inverse = np.linalg.inv(np.vstack([to_photo(x, y, scale, angle_deg), [0, 0, 1]]))[:2]
    inverse[:, 2] += 0.5 - inverse[:, :2].sum(1) / 2  # Pillow counts from the corner of the first pixel
    size = picture.shape[1::-1]
    how = (Image.Transform.AFFINE, inverse.ravel().tolist(), Image.Resampling.BICUBIC)
    face = Image.fromarray(crop).transform(size, *how)
    inside = Image.new("L", (112, 112), 255).transform(size, Image.Transform.AFFINE, inverse.ravel().tolist())
    pasted = Image.fromarray(picture)
    pasted.paste(face, mask=inside)
    return np.asarray(pasted)
