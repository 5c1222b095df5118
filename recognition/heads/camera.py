"""The camera: where a place of the scene appears in the picture, and what the camera spoils."""

from __future__ import annotations

import numpy as np

from recognition.heads.numbers import random_words

_NOISE = 0x4E6F697365
# Of the sum of four bytes.
_FOUR_BYTES_MEAN, _FOUR_BYTES_DEVIATION = 510.0, 147.8


def projected(places_N3: np.ndarray, distance_dm: float) -> np.ndarray:
    """Where places appear in the plane through the middle of the head, in decimetres: (x, y) d / (d - z)."""
    nearer = np.float64(distance_dm) / (distance_dm - places_N3[:, 2].astype(np.float64))
    return np.stack([places_N3[:, 0] * nearer, places_N3[:, 1] * nearer], axis=1)


def in_pixels(plane_N2: np.ndarray, matrix_23: np.ndarray) -> np.ndarray:
    """Pixels, float64 (N, 2), of places in that plane; written out, so that every machine rounds alike."""
    x, y = plane_N2[:, 0], plane_N2[:, 1]
    return np.stack([row[0] * x + row[1] * y + row[2] for row in matrix_23], axis=1)


def blurred(light_HWC: np.ndarray, strength: float) -> np.ndarray:
    """The picture, each pixel mixed with its neighbours: strength 1 is the binomial kernel [1, 2, 1] / 4 each way."""
    side = np.float32(0.25 * strength)
    for axis in (0, 1):
        padded = np.pad(light_HWC, [(1, 1) if other == axis else (0, 0) for other in range(3)], mode="edge")
        before, after = (padded[:-2], padded[2:]) if axis == 0 else (padded[:, :-2], padded[:, 2:])
        light_HWC = light_HWC * (1 - 2 * side) + side * (before + after)
    return light_HWC


def noise(size: int, key: int) -> np.ndarray:
    """Near-Gaussian noise of deviation 1, float32 (size, size, 3): sums of four random bytes."""
    words = random_words((size * size * 3 + 1) // 2, _NOISE, key)
    bytes_ = words.astype("<u8").view(np.uint8).reshape(-1, 4)
    total = bytes_[:, 0].astype(np.int32) + bytes_[:, 1] + bytes_[:, 2] + bytes_[:, 3]
    deviation = (total[: size * size * 3] - _FOUR_BYTES_MEAN) / _FOUR_BYTES_DEVIATION
    return deviation.astype(np.float32).reshape(size, size, 3)
