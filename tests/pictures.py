"""Small pictures for tests, in files and in memory, and Pillow's reading of them."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image

from recognition.data.synthetic import TRAINING, FaceRenderer


def encoded(image: Image.Image | np.ndarray, kind: str = "JPEG", **options) -> bytes:
    """The bytes of an image file of that kind; uint8 (H, W, 3) arrays are RGB."""
    buffer = io.BytesIO()
    image = Image.fromarray(image) if isinstance(image, np.ndarray) else image
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def pil_pixels(payload: bytes | memoryview) -> np.ndarray:
    """Pixels uint8 (H, W, 3) as Pillow reads them."""
    return np.asarray(Image.open(io.BytesIO(payload)).convert("RGB"))


def face(size: int = 112) -> np.ndarray:
    """A synthetic face, uint8 (size, size, 3)."""
    return FaceRenderer(size).draw(0, TRAINING, 0, 0)


def smooth(seed: int, width: int = 16, height: int = 16) -> Image.Image:
    """A picture of a few colours that run into each other, which JPEG hardly changes."""
    coarse = np.random.default_rng(seed).integers(0, 256, (2, 2, 3), np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BILINEAR)


def jpeg(seed: int, size: int = 16) -> bytes:
    """`smooth` as the bytes of a JPEG."""
    return encoded(smooth(seed, size, size), quality=95)


def write_people(folder: Path, counts: dict[str, int], *, size: int = 16, suffix: str = ".jpg") -> Path:
    """A folder per name with that many pictures of noise, `0.jpg`, `1.jpg`, ...; returns `folder`."""
    rng = np.random.default_rng(0)
    for name, count in counts.items():
        (folder / name).mkdir(parents=True)
        for number in range(count):
            Image.fromarray(rng.integers(0, 256, (size, size, 3), np.uint8)).save(folder / name / f"{number}{suffix}")
    return folder
