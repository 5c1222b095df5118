"""Samples that are drawn when they are asked for."""

from __future__ import annotations

import numpy as np

from recognition.data.sources.content import Content
from recognition.data.sources.sample import Sample
from recognition.data.synthetic import TRAINING, FaceRenderer

SYNTHETIC_IMAGES = 1_000_000


class SyntheticSource:
    """Procedural faces (synthetic.py): image `index` shows identity `index % num_classes`."""

    def __init__(
        self, *, num_classes: int, num_image: int = SYNTHETIC_IMAGES, seed: int = 0, image_size: int = 112
    ) -> None:
        self.num_classes, self.num_image, self.seed = num_classes, num_image, seed
        self.renderer = FaceRenderer(image_size)

    def __len__(self) -> int:
        return self.num_image

    def read(self, index: int) -> Sample:
        """Pixels uint8 (H, W, 3) and the label."""
        label = int(index) % self.num_classes
        return Sample(self.renderer.draw(self.seed, TRAINING, label, int(index)), label)

    def describe(self, index: int) -> str:
        """`synthetic image INDEX`."""
        return f"synthetic image {index}"

    def labels(self) -> np.ndarray:
        """int64 labels of all samples."""
        return np.arange(self.num_image) % self.num_classes

    def content(self, ends_bytes: int) -> Content:
        """What the drawing depends on."""
        return [str((self.seed, self.renderer.image_size)).encode()]
