"""Samples that are drawn when they are asked for, by what `rec` and `val_targets` call them."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from recognition.data.sources.content import Content
from recognition.data.sources.sample import Sample
from recognition.data.synthetic import TRAINING, FaceRenderer, Renderer
from recognition.heads.renderer import HeadRenderer

DRAWN_IMAGES = 1_000_000


class DrawnSource:
    """What every drawn set is: image `index` shows identity `index % num_classes`."""

    name: ClassVar[str]
    renderer_of: ClassVar[type[Renderer]]
    num_pairs: ClassVar[int]
    """Pairs of other people to verify on during a run."""

    def __init__(
        self, *, num_classes: int, num_image: int = DRAWN_IMAGES, seed: int = 0, image_size: int = 112
    ) -> None:
        self.num_classes, self.num_image, self.seed = num_classes, num_image, seed
        self.renderer = self.renderer_of(image_size)

    def __len__(self) -> int:
        return self.num_image

    def read(self, index: int) -> Sample:
        """Pixels uint8 (H, W, 3) and the label."""
        label = int(index) % self.num_classes
        return Sample(self.renderer.draw(self.seed, TRAINING, label, int(index)), label)

    def describe(self, index: int) -> str:
        """`NAME image INDEX`."""
        return f"{self.name} image {index}"

    def labels(self) -> np.ndarray:
        """int64 labels of all samples."""
        return np.arange(self.num_image) % self.num_classes

    def content(self, ends_bytes: int) -> Content:
        """What the drawing depends on."""
        return [str((self.seed, self.renderer.image_size)).encode()]


class SyntheticSource(DrawnSource):
    """Flat procedural faces (synthetic.py), drawn as fast as others are read."""

    name, renderer_of, num_pairs = "synthetic", FaceRenderer, 120


class HeadsSource(DrawnSource):
    """Procedural heads in three dimensions (recognition/heads): a harder task, some twenty milliseconds a picture.

    A set of up to `MOST_KEPT_BYTES` is kept in memory as it is drawn, so that later epochs cost nothing.
    """

    name, renderer_of, num_pairs = "heads", HeadRenderer, 300
    MOST_KEPT_BYTES = 1 << 29

    def __init__(self, **shape: int) -> None:
        super().__init__(**shape)
        self._kept: dict[int, Sample] = {}
        self._keeps = self.num_image * 3 * self.renderer.image_size**2 <= self.MOST_KEPT_BYTES

    def read(self, index: int) -> Sample:
        """Pixels uint8 (H, W, 3), not to be changed, and the label."""
        sample = self._kept.get(int(index))
        if sample is None:
            sample = super().read(index)
            sample.payload.flags.writeable = False
            if self._keeps:
                # Two threads that draw one picture at once draw it alike.
                self._kept[int(index)] = sample
        return sample


DRAWN: dict[str, type[DrawnSource]] = {source.name: source for source in (SyntheticSource, HeadsSource)}
