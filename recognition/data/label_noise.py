"""Wrong labels on purpose, for experiments on noisy sets: flipped to another person, or one person under several.

Both are functions of (seed, image) and (seed, identity) alone: no list is kept, and threads, ranks and the order of
reading do not matter. They are the noise of WebFace12M-Flip and WebFace12M-Conflict (An et al. 2022, "Killing two birds
with one stone", arXiv:2203.15565): `flip:0.4`, and `conflict:0.32364:3`, 200,000 of 617,970 identities under 3 labels
each, which makes 1,017,970.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from recognition.data.sources import Sample, Source
from recognition.data.sources.content import Content, content_of
from recognition.errors import InputError
from recognition.permutation import MAX_SIZE, permutation_keys, permute

CHOICE_KEY = int.from_bytes(b"noisy", "big")
DRAW_KEY = int.from_bytes(b"label", "big")
_IMAGES_AT_ONCE = 4096


@dataclass(frozen=True)
class LabelNoise:
    """`kind` "flip": `share` of the images; "conflict": `share` of the identities, each under `labels` labels."""

    kind: str
    share: float
    labels: int = 2

    def num_classes(self, clean_classes: int) -> int:
        """Labels in the noisy set, for so many identities in the clean one."""
        return clean_classes + (self.labels - 1) * self._split(clean_classes)

    def apply(self, ids: np.ndarray, labels: np.ndarray, *, num_images: int, num_classes: int, seed: int) -> np.ndarray:
        """Noisy labels (int64[n]) of the images `ids` (int64[n] in [0, num_images)) with clean `labels` (int64[n])."""
        if self.kind == "flip":
            return flipped(ids, labels, share=self.share, num_images=num_images, num_classes=num_classes, seed=seed)
        return split(ids, labels, share=self.share, parts=self.labels, num_classes=num_classes, seed=seed)

    def _split(self, clean_classes: int) -> int:
        return _portion(self.share, clean_classes) if self.kind == "conflict" else 0


def parse_noise(text: str) -> LabelNoise:
    """`flip:SHARE`, `conflict:SHARE` or `conflict:SHARE:LABELS` with SHARE in (0, 1], LABELS >= 2; else InputError."""
    kind, *numbers = text.split(":")
    try:
        noise = LabelNoise(kind, float(numbers[0]), *map(int, numbers[1:]))
        sound = len(numbers) <= {"flip": 1, "conflict": 2}[kind] and 0 < noise.share <= 1 and noise.labels >= 2
    except (ValueError, TypeError, KeyError, IndexError):
        sound = False
    if not sound:
        raise InputError(
            f"label noise {text!r} is not known; write flip:0.4 (a share of the images above 0, at most 1), "
            "conflict:0.3 or conflict:0.3:3 (a share of the identities, and the labels of each, at least 2)"
        )
    return noise


def flipped(
    ids: np.ndarray, labels: np.ndarray, *, share: float, num_images: int, num_classes: int, seed: int
) -> np.ndarray:
    """Labels with exactly round(share * num_images) of all images moved to another class, each equally likely."""
    if num_classes < 2:
        raise InputError(f"{num_classes} identity cannot be taken for another; flips need at least 2")
    chosen = permute(ids, num_images, permutation_keys(seed, CHOICE_KEY)) < _portion(share, num_images)
    # A step of 1 to num_classes - 1 around the circle of classes: never back to the own one.
    steps = 1 + _draw(ids, num_classes - 1, seed)
    return np.where(chosen, (labels + steps) % num_classes, labels)


def split(ids: np.ndarray, labels: np.ndarray, *, share: float, parts: int, num_classes: int, seed: int) -> np.ndarray:
    """Labels with exactly round(share * num_classes) identities spread over `parts` labels, image by image.

    One of the labels is the old one, the others lie beyond `num_classes`: those of the n-th identity that is split
    begin at num_classes + n * (parts - 1). An identity of few images may not fill all its labels.
    """
    turn = permute(labels, num_classes, permutation_keys(seed, CHOICE_KEY))
    part = _draw(ids, parts, seed)
    moved = (turn < _portion(share, num_classes)) & (part > 0)
    return np.where(moved, num_classes + turn * (parts - 1) + part - 1, labels)


def _portion(share: float, count: int) -> int:
    return round(share * count)


def _draw(ids: np.ndarray, choices: int, seed: int) -> np.ndarray:
    """A number in [0, choices) per image; a keyed permutation of a huge range is a hash."""
    return permute(ids, MAX_SIZE, permutation_keys(seed, DRAW_KEY)) % choices


class NoisySource:
    """A source under noise: the same images, in the same order, with the labels of `noise`; 0.1 ms more for each."""

    def __init__(self, source: Source, noise: LabelNoise, *, seed: int) -> None:
        self.source, self.noise, self.seed = source, noise, seed
        self.num_classes = noise.num_classes(source.num_classes)
        self._counts = {"num_images": len(source), "num_classes": source.num_classes}

    def __len__(self) -> int:
        return len(self.source)

    def read(self, index: int) -> Sample:
        """The clean source's payload and the noisy label; its InputErrors."""
        sample = self.source.read(index)
        label = self.noise.apply(np.int64(index), np.int64(sample.label), seed=self.seed, **self._counts)
        return Sample(sample.payload, int(label))

    def describe(self, index: int) -> str:
        """As the clean source."""
        return self.source.describe(index)

    def labels(self) -> np.ndarray | None:
        """int64 noisy labels of all samples; None where the clean source has none without its images."""
        clean = self.source.labels()
        if clean is None:
            return None
        noisy = np.empty(len(clean), np.int64)
        for start in range(0, len(clean), _IMAGES_AT_ONCE):
            ids = np.arange(start, min(start + _IMAGES_AT_ONCE, len(clean)))
            noisy[ids] = self.noise.apply(ids, clean[ids], seed=self.seed, **self._counts)
        return noisy

    def content(self, ends_bytes: int) -> Content:
        """The noise, and what the clean source has."""
        yield repr((self.noise, self.seed)).encode()
        yield from content_of(self.source, ends_bytes)
