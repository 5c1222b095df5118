"""Checkpoints of generators that no run had to make, and what ONNX Runtime itself makes of their files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch

from generation.stargan.checkpoint import StarGANCheckpoint
from generation.stargan.networks import StarGANGenerator

NAMES = ("Black_Hair", "Male", "Young")


def checkpoint_of(
    names: tuple[str, ...] = NAMES, *, conv_dim: int = 8, repeat_num: int = 2, image_size: int = 32, seed: int = 0
) -> StarGANCheckpoint:
    """A checkpoint with a generator and its average, both drawn at random and not the same."""
    torch.manual_seed(seed)
    generator, average = (StarGANGenerator(conv_dim, len(names), repeat_num) for _ in range(2))
    settings = {
        "g_conv_dim": conv_dim,
        "g_repeat_num": repeat_num,
        "residual": False,
        "image_size": image_size,
        "crop_size": None,
    }
    content = {
        "epoch": 4,
        "settings": settings,
        "attributes": list(names),
        "exclusive": False,
        "generator": generator.state_dict(),
        "generator_ema": average.state_dict(),
    }
    return StarGANCheckpoint(Path("run/checkpoint_epoch_4.pth"), content)


def session_of(path: Path) -> onnxruntime.InferenceSession:
    """As a user opens it."""
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


def stored_in(path: Path) -> dict[str, Any]:
    """What a file says of itself."""
    return json.loads(session_of(path).get_modelmeta().custom_metadata_map["arcscale"])


def all_labels(count: int) -> np.ndarray:
    """Every pattern, float32 (2^A, A)."""
    return np.stack(np.meshgrid(*[[0, 1]] * count), -1).reshape(-1, count).astype(np.float32)


def pictures(count: int, side: int, seed: int = 3) -> np.ndarray:
    """Smooth uint8 (N, S, S, 3) pictures, each of other colours, with some noise."""
    draw = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side] / side
    waves = [
        np.sin(6 * (x * a + y * b + c))[..., None] * colour
        for a, b, c, colour in zip(*draw.uniform(-1, 1, (3, count)), draw.uniform(40, 120, (count, 3)))
    ]
    noise = draw.integers(-8, 9, (count, side, side, 3))
    return (127 + np.stack(waves) + noise).clip(0, 255).astype(np.uint8)
