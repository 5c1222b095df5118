"""A generator -> float32 ONNX that agrees with PyTorch for any batch and any attributes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from generation.stargan.attributes import HAIR
from generation.stargan.checkpoint import StarGANCheckpoint
from generation.stargan.networks import HALVINGS
from recognition.export.onnx_file import BATCHES, OPSET, Feed, Form, export_network

IMAGE, LABELS, EDITED = "image", "labels", "edited"
TOLERANCE = 1e-4  # of values in [-1, 1]; a level of a picture of bytes is eighty times as much
MOST_PATTERNS = 32
KIND = "stargan_generator"


def export_generator(
    checkpoint: StarGANCheckpoint, path: Path, *, ema: bool = True, opset: int = OPSET, any_size: bool = False
) -> float:
    """Write the generator of a checkpoint; returns the largest absolute difference from PyTorch.

    Inputs: `image` (N, 3, S, S) in [-1, 1] and `labels` (N, A), 0 or 1, both float32; output: `edited`, as `image`.
    `any_size`: sides may be any multiples of 4. ParityError, and no file, above a difference of TOLERANCE at a batch of
    1, 2 or 7 or for any attributes (all patterns, where there are no more than MOST_PATTERNS).
    """
    form = Form(
        inputs={IMAGE: _axes(any_size), LABELS: {0: "batch"}},
        outputs={EDITED: _axes(any_size)},
        tolerance=TOLERANCE,
        relative=False,
    )
    sides = [checkpoint.image_size, checkpoint.image_size + 2 * 2**HALVINGS] if any_size else [checkpoint.image_size]
    count = len(checkpoint.attributes)
    example = next(_feeds(2, count, sides[:1]))
    return export_network(
        checkpoint.generator(ema),
        path,
        facts_of(checkpoint, ema=ema),
        form,
        example,
        _compared(count, sides),
        opset=opset,
    )


def facts_of(checkpoint: StarGANCheckpoint, *, ema: bool) -> dict[str, Any]:
    """What the file says of itself (JSON), but for the SHA-256 of the weights, which the writer adds."""
    return {
        "kind": KIND,
        "precision": "fp32",
        "attributes": list(checkpoint.attributes),
        "exclusive": checkpoint.exclusive,
        "image_size": checkpoint.image_size,
        "channel_order": "RGB",
        "mean": 127.5,
        "std": 127.5,
        "value_range": [-1, 1],
        "epoch": checkpoint.epoch,
        "ema": ema,
    }


def label_patterns(count: int, most: int = MOST_PATTERNS) -> np.ndarray:
    """Attributes, float32 (P, A): all patterns where these are at most `most`, else none, all, each alone, and more."""
    if 2**count <= most:
        return np.array([[pattern >> place & 1 for place in range(count)] for pattern in range(2**count)], np.float32)
    certain = np.concatenate([np.zeros((1, count)), np.ones((1, count)), np.eye(count)])
    drawn = np.random.default_rng(0).integers(0, 2, (max(0, most - len(certain)), count))
    return np.concatenate([certain, drawn]).astype(np.float32)


def edit_labels(size: int, names: Sequence[str], *, exclusive: bool = False) -> np.ndarray:
    """Attributes, float32 (N, A), that pictures are edited to, always the same; of hair one colour, as of all edits."""
    draw = np.random.default_rng(1)
    labels_NA = draw.integers(0, 2, (size, len(names))).astype(np.float32)
    group = [place for place, name in enumerate(names) if exclusive or name in HAIR]
    if group:
        labels_NA[:, group] = 0
        labels_NA[np.arange(size), draw.choice(group, size)] = 1
    return labels_NA


def _axes(any_size: bool) -> dict[int, str]:
    return {0: "batch", 2: "height", 3: "width"} if any_size else {0: "batch"}


def _compared(count: int, sides: list[int]) -> Iterator[Feed]:
    """Batches of each size, the last size until every pattern has been in one; the last side at the smallest batch."""
    patterns_PA = label_patterns(count)
    yield from _feeds(BATCHES[0], count, sides)
    yield from _feeds(BATCHES[1], count, sides[:1])
    largest = BATCHES[-1]
    for start in range(0, len(patterns_PA), largest):
        (feed,) = _feeds(largest, count, sides[:1])
        yield {**feed, LABELS: np.resize(np.roll(patterns_PA, -start, axis=0), (largest, count))}


def _feeds(batch: int, count: int, sides: list[int]) -> Iterator[Feed]:
    draw = np.random.default_rng(batch)
    for side in sides:
        image = draw.uniform(-1, 1, (batch, 3, side, side)).astype(np.float32)
        yield {IMAGE: image, LABELS: draw.integers(0, 2, (batch, count)).astype(np.float32)}
