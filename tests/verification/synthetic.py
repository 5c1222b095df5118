"""Pair sets and embeddings that tests make up: small JPEGs, `.bin` files, embeddings with known noise."""

import io
import pickle
import zlib

import numpy as np
from PIL import Image


def jpeg(seed: int, size: int = 16, *, quality: int = 95) -> bytes:
    """A smooth coloured picture as JPEG bytes."""
    coarse = np.random.default_rng(seed).integers(0, 255, (4, 4, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(coarse).resize((size, size), Image.Resampling.BICUBIC).save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def pil_pixels(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def pair_file(path, num_pairs: int = 4, size: int = 16, protocol: int = 4):
    """An honest `.bin` file; every second pair shows one person."""
    images = [jpeg(index, size) for index in range(2 * num_pairs)]
    path.write_bytes(pickle.dumps((images, [pair % 2 == 0 for pair in range(num_pairs)]), protocol))
    return path


def noisy_pairs(seed: int, noise: float, num_pairs: int = 600, dim: int = 64) -> tuple[np.ndarray, np.ndarray]:
    """The embeddings of the interop fixture's recipe, its draws in its order."""
    rng = np.random.default_rng(seed)
    issame = np.arange(num_pairs) % (num_pairs // 10) < num_pairs // 20
    first = rng.normal(size=(num_pairs, dim))
    second = np.where(issame[:, None], first, rng.normal(size=first.shape))
    embeddings = np.empty((2 * num_pairs, dim))
    embeddings[0::2] = first + noise * rng.normal(size=first.shape)
    embeddings[1::2] = second + noise * rng.normal(size=first.shape)
    return embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True), issame


def fill(module) -> None:
    """Weights and statistics that are no special case, the same on every call: see the interop README."""
    for key, tensor in module.state_dict().items():
        rng = np.random.default_rng(zlib.crc32(key.encode()))
        if key.endswith("running_var"):
            value = rng.uniform(0.5, 1.5, tensor.shape)
        elif tensor.ndim >= 2:
            value = rng.normal(0, np.prod(tensor.shape[1:]) ** -0.5, tensor.shape)
        else:
            value = rng.uniform(0.2, 0.6, tensor.shape)
        tensor.copy_(tensor.new_tensor(value))
