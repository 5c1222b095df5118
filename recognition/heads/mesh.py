"""Triangles of a scene: places, coordinates on the part's own surface, and which part each triangle belongs to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from functools import lru_cache

import numpy as np


class Part(IntEnum):
    """What a triangle belongs to; painting.py gives each its colours and classes."""

    HEAD, LEFT_EAR, RIGHT_EAR, NECK, CLOTH, HAIR, FRAME = range(7)


@dataclass(frozen=True)
class Mesh:
    """V vertices, T triangles, all float32 but for the indices.

    `places_V3`: x right, y down, z towards the viewer, in decimetres. `normals_V3`: outward, of length 1.
    `surface_V3`: what the painter goes by, e.g. (u, v, z) of the head without relief. `corners_T3`: counted so that
    a triangle's visible side is the one from which its corners run clockwise in the picture.
    """

    places_V3: np.ndarray
    normals_V3: np.ndarray
    surface_V3: np.ndarray
    corners_T3: np.ndarray
    parts_T: np.ndarray

    def moved(self, places_V3: np.ndarray, normals_V3: np.ndarray) -> Mesh:
        """The same triangles elsewhere."""
        return replace(self, places_V3=places_V3, normals_V3=normals_V3)


def joined(meshes: Sequence[Mesh]) -> Mesh:
    """All the meshes as one."""
    starts = np.cumsum([0] + [len(mesh.places_V3) for mesh in meshes])
    return Mesh(
        np.concatenate([mesh.places_V3 for mesh in meshes]),
        np.concatenate([mesh.normals_V3 for mesh in meshes]),
        np.concatenate([mesh.surface_V3 for mesh in meshes]),
        np.concatenate([mesh.corners_T3 + start for mesh, start in zip(meshes, starts)]),
        np.concatenate([mesh.parts_T for mesh in meshes]),
    )


def sheet(places_RC3: np.ndarray, surface_RC3: np.ndarray, part: Part, *, closed: bool) -> Mesh:
    """A grid of R rows and C columns as triangles; `closed`: the last column is joined to the first.

    Seen from outside, columns run to the right and rows down.
    """
    rows, columns = places_RC3.shape[:2]
    corners_T3 = _grid_triangles(rows, columns, closed)
    return Mesh(
        places_RC3.reshape(-1, 3).astype(np.float32),
        grid_normals(places_RC3, closed=closed).reshape(-1, 3).astype(np.float32),
        surface_RC3.reshape(-1, 3).astype(np.float32),
        corners_T3,
        np.full(len(corners_T3), part, np.uint8),
    )


def grid_normals(places_RC3: np.ndarray, *, closed: bool) -> np.ndarray:
    """Unit normals (R, C, 3) by central differences; at the ends, where a row may be one point, across as beside."""
    down = np.empty_like(places_RC3)
    down[1:-1] = places_RC3[2:] - places_RC3[:-2]
    down[0], down[-1] = places_RC3[1] - places_RC3[0], places_RC3[-1] - places_RC3[-2]
    if closed:
        across = np.roll(places_RC3, -1, axis=1) - np.roll(places_RC3, 1, axis=1)
    else:
        across = np.empty_like(places_RC3)
        across[:, 1:-1] = places_RC3[:, 2:] - places_RC3[:, :-2]
        across[:, 0], across[:, -1] = places_RC3[:, 1] - places_RC3[:, 0], places_RC3[:, -1] - places_RC3[:, -2]
    across[0], across[-1] = across[1], across[-2]
    return unit(cross(across, down))


def cross(a_3: np.ndarray, b_3: np.ndarray) -> np.ndarray:
    """What points to the viewer when `a` runs right and `b` down: the cross product in this left-handed frame."""
    out_3 = np.empty(np.broadcast_shapes(a_3.shape, b_3.shape), a_3.dtype)
    for axis, (one, other) in enumerate(((1, 2), (2, 0), (0, 1))):
        out_3[..., axis] = a_3[..., one] * b_3[..., other] - a_3[..., other] * b_3[..., one]
    return out_3


def unit(vectors_3: np.ndarray) -> np.ndarray:
    """The vectors at length 1; zero stays zero."""
    x, y, z = vectors_3[..., 0], vectors_3[..., 1], vectors_3[..., 2]
    length = np.sqrt(x * x + y * y + z * z)
    return vectors_3 / np.maximum(length, np.float32(1e-12))[..., None]


def turned(vectors_3: np.ndarray, rotation_33: np.ndarray) -> np.ndarray:
    """R v for each vector, of its type; written out, because a matrix product may round otherwise elsewhere."""
    x, y, z = vectors_3[..., 0], vectors_3[..., 1], vectors_3[..., 2]
    out_3 = np.empty_like(vectors_3)
    for axis, row in enumerate(rotation_33.astype(vectors_3.dtype)):
        out_3[..., axis] = row[0] * x + row[1] * y + row[2] * z
    return out_3


@lru_cache(maxsize=32)
def _grid_triangles(rows: int, columns: int, closed: bool) -> np.ndarray:
    """int64 (T, 3) of a grid whose vertices are counted row by row."""
    left = np.arange(columns if closed else columns - 1)
    right = (left + 1) % columns
    top = np.arange(rows - 1)[:, None] * columns
    a, b, c, d = top + left, top + right, top + columns + left, top + columns + right
    return np.concatenate([np.stack(t, axis=-1).reshape(-1, 3) for t in ((a, b, d), (a, d, c))])
