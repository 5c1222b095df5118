"""What stands behind a person: one colour, or a few that run into each other."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from recognition.heads.scene import Scene

_GRID = 4


def backdrop(scene: Scene, size: int) -> np.ndarray:
    """Linear light, float32 (size, size, 3)."""
    colours = np.array(scene.backdrop, np.float32)
    colours = colours * colours
    if len(colours) == 1:
        return np.broadcast_to(colours[0], (size, size, 3))
    grid = colours.reshape(_GRID, _GRID, 3)
    place, share = _places(size)
    share = share[:, None]
    across = grid[:, place] + (grid[:, place + 1] - grid[:, place]) * share
    return across[place] + (across[place + 1] - across[place]) * share[:, None]


@lru_cache(maxsize=8)
def _places(size: int) -> tuple[np.ndarray, np.ndarray]:
    """The cell of the grid that each pixel lies in, and how far, without kinks at the grid's lines."""
    at = np.arange(size, dtype=np.float32) * np.float32((_GRID - 1) / size)
    place = at.astype(np.int64)
    t = at - place.astype(np.float32)
    return place, t * t * (3 - 2 * t)
