"""Pictures as augmentations take and give them, and a kind applied to them."""

from __future__ import annotations

import numpy as np
import torch

from recognition.data.augment.draws import Draws
from recognition.data.augment.kinds import KINDS
from recognition.data.synthetic import TRAINING, FaceRenderer

SEED = 2048


def noise(count: int, size: int = 24) -> np.ndarray:
    """Pictures without any likeness among neighbours, the hardest to resample alike: uint8 (N, size, size, 3)."""
    return np.random.default_rng(0).integers(0, 256, (count, size, size, 3), dtype=np.uint8)


def faces(count: int, size: int = 112) -> np.ndarray:
    """Synthetic faces, uint8 (N, size, size, 3)."""
    renderer = FaceRenderer(size)
    return np.stack([renderer.draw(0, TRAINING, index, index) for index in range(count)])


def draws(count: int, purpose: str = "test") -> Draws:
    """The streams of samples 0 to count - 1 in epoch 0."""
    ids = torch.arange(count)
    return Draws.of(ids, torch.zeros_like(ids), seed=SEED, purpose=purpose)


def changed(kind: str, pictures: np.ndarray, **ranges: tuple[float, float]) -> np.ndarray:
    """uint8 pictures after `kind`; whole numbers in [0, 255] or AssertionError."""
    images_NCHW = torch.from_numpy(pictures).permute(0, 3, 1, 2).float()
    before = images_NCHW.clone()
    found = KINDS[kind].change(images_NCHW, draws(len(pictures)), **{**KINDS[kind].defaults, **ranges})
    assert images_NCHW.equal(before)
    assert found.dtype == torch.float32
    assert torch.equal(found, found.round().clamp(0, 255))
    return found.permute(0, 2, 3, 1).to(torch.uint8).numpy()


def assert_near(found: np.ndarray, expected: np.ndarray, *, most: float, mean: float) -> None:
    """Grey levels apart, at most and on average; as far up as down, but for halves that one of two rounds down."""
    apart = found.astype(np.float64) - expected.astype(np.float64)
    assert np.abs(apart).max() <= most
    assert np.abs(apart).mean() <= mean
    assert abs(apart.mean()) <= max(0.03, mean / 2)
