"""Pictures of which everybody sees what each pixel is, with masks, and runs on them of seconds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from generation.parsing.config import ParsingConfig
from generation.parsing.training import train
from recognition.runtime import Runtime

SIDE = 32
COLOURS = {0: (20, 20, 20), 1: (220, 180, 140), 17: (120, 40, 200)}
SMALL = {
    "image_size": SIDE, "width": 4, "batch_size": 4, "steps": 6, "warmup_steps": 2, "eval_every": 3, "log_every": 2,
    "num_workers": 1, "device": "cpu", "test_size": 4,
}  # fmt: skip


def face(number: int, side: int = SIDE) -> tuple[np.ndarray, np.ndarray]:
    """A rectangle of skin under one of hair, uint8 (S, S, 3) with some noise, and the mask, uint8 (S, S)."""
    draw = np.random.default_rng(number)
    left, right = draw.integers(2, side // 3), draw.integers(2 * side // 3, side - 2)
    top, chin = draw.integers(2, side // 4), draw.integers(3 * side // 4, side)
    mask_HW = np.zeros((side, side), np.uint8)
    mask_HW[top:chin, left:right] = 1
    mask_HW[top : side // 2, left:right] = 17
    pixels_HWC = np.zeros((side, side, 3), np.int64)
    for number, colour in COLOURS.items():
        pixels_HWC[mask_HW == number] = colour
    noisy = pixels_HWC + draw.integers(-15, 16, pixels_HWC.shape)
    return noisy.clip(0, 255).astype(np.uint8), mask_HW


def write_faces(folder: Path, count: int = 16, side: int = SIDE) -> Path:
    """images/ and masks/ in a folder."""
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True)
    for number in range(count):
        pixels_HWC, mask_HW = face(number, side)
        Image.fromarray(pixels_HWC).save(folder / "images" / f"{number}.png")
        Image.fromarray(mask_HW).save(folder / "masks" / f"{number}.png")
    return folder


def run(data: Path, out: Path, runtime: Runtime | None = None, **options: object) -> Path:
    """Train; returns the run's folder."""
    cfg = ParsingConfig(**{**SMALL, "data_dir": data, "save_dir": out / "run", **options})
    return train(cfg, runtime or Runtime())
