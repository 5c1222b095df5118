"""Pictures with two attributes that anybody can see, in CelebA's layout, and runs on them of a second."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from generation.stargan.arguments import config_of
from generation.stargan.loop import train
from recognition.runtime import Runtime

NAMES = ("Male", "Young")
SIDE = 16
SMALL = (
    *("--image_size", SIDE, "--g_conv_dim", 4, "--d_conv_dim", 4, "--g_repeat_num", 1, "--d_repeat_num", 2),
    *("--batch_size", 4, "--num_epochs", 2, "--n_critic", 2, "--num_workers", 1, "--device", "cpu"),
    *("--log_every", 2, "--save_interval", 1, "--selected_attrs", *NAMES),
)


def labels(count: int) -> np.ndarray:
    """bool (N, 2), all four kinds by turns."""
    return np.array([[index % 2, index // 2 % 2] for index in range(count)], bool)


def pixels(values: np.ndarray, seed: int = 0, side: int = SIDE) -> np.ndarray:
    """Noise, uint8 (S, S, 3); red on the left for the first attribute, blue on the right for the second."""
    picture = np.random.default_rng(seed).integers(0, 80, (side, side, 3), dtype=np.uint8)
    picture[:, : side // 2, 0] += 150 * np.uint8(values[0])
    picture[:, side // 2 :, 2] += 150 * np.uint8(values[1])
    return picture


def write_celeba(folder: Path, count: int = 40, *, names: tuple[str, ...] = NAMES, side: int = SIDE) -> Path:
    """list_attr_celeba.txt and img_align_celeba/ in a folder."""
    (folder / "img_align_celeba").mkdir(parents=True)
    lines = [str(count), " ".join(names)]
    for index, values in enumerate(labels(count)):
        name = f"{index + 1:06}.png"
        Image.fromarray(pixels(values, index, side)).save(folder / "img_align_celeba" / name)
        lines.append(f"{name}  {' '.join('1' if value else '-1' for value in values)}")
    (folder / "list_attr_celeba.txt").write_text("\n".join(lines) + "\n")
    return folder


def run(data: Path, out: Path, *options: object, runtime: Runtime | None = None) -> Path:
    """Train as the command would; returns the run's folder."""
    words = ["--data_dir", data, "--save_dir", out / "run", *SMALL, *options]
    return train(config_of([str(word) for word in words], description="-"), runtime or Runtime())
