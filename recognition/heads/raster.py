"""Triangles -> which of them each sample of a picture sees, without a loop over triangles.

Every triangle is cut into the rows it crosses and every row into the samples it covers, so that the work follows the
area that is drawn. An edge is followed from its upper end for both of its triangles: neighbours leave neither gaps nor
overlaps. All arithmetic is elementwise, so that the same triangles give the same samples on any machine.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_DEPTH_STEPS = float(1 << 20)  # per decimetre
_LEAST_AREA = 1e-4  # samples; thinner triangles cover none, and their planes have no use


@dataclass(frozen=True)
class Hits:
    """The N samples that see a triangle: place (row * size + column), triangle, shares of its corners, and depth."""

    places_N: np.ndarray
    triangles_N: np.ndarray
    shares_N3: np.ndarray
    depths_N: np.ndarray


def visible(screen_V3: np.ndarray, corners_T3: np.ndarray, size: int) -> Hits:
    """The nearest triangle at each sample of a grid of `size` square; sample centres lie at whole numbers.

    `screen_V3`: float32 x, y in samples and depth, greater = nearer. Triangles with corners anticlockwise face away.
    """
    x_T3, y_T3 = (np.take(screen_V3[:, axis], corners_T3) for axis in (0, 1))
    area_T = _doubled_area(x_T3, y_T3)
    (left_T, right_T), (top_T, bottom_T) = _ends(x_T3), _ends(y_T3)
    on_screen_T = (right_T >= 0) & (bottom_T >= 0) & (left_T <= size - 1) & (top_T <= size - 1)
    kept = np.flatnonzero((area_T > _LEAST_AREA) & on_screen_T)
    # Corners from top to bottom.
    order_K3 = np.argsort(y_T3[kept], axis=1, kind="stable")
    corners_K3 = np.take_along_axis(corners_T3[kept], order_K3, axis=1)
    x0, x1, x2 = (np.take(screen_V3[:, 0], corners_K3[:, corner]) for corner in range(3))
    y0, y1, y2 = (np.take(screen_V3[:, 1], corners_K3[:, corner]) for corner in range(3))
    depth0, depth1, depth2 = (np.take(screen_V3[:, 2], corners_K3[:, corner]) for corner in range(3))
    area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
    by_x = ((depth1 - depth0) * (y2 - y0) - (depth2 - depth0) * (y1 - y0)) / area
    by_y = ((depth2 - depth0) * (x1 - x0) - (depth1 - depth0) * (x2 - x0)) / area

    first_row, end_row = (np.clip(np.ceil(y), 0, size).astype(np.int64) for y in (y0, y2))
    owner_S, row_S = _spread(first_row, end_row)
    row = row_S.astype(np.float32)
    long_slope, upper_slope, lower_slope = _slope(x0, y0, x2, y2), _slope(x0, y0, x1, y1), _slope(x1, y1, x2, y2)
    from_top = row - y0[owner_S]
    one = x0[owner_S] + from_top * long_slope[owner_S]
    other = np.where(
        row < y1[owner_S],
        x0[owner_S] + from_top * upper_slope[owner_S],
        x1[owner_S] + (row - y1[owner_S]) * lower_slope[owner_S],
    )
    first, end = (
        np.clip(np.ceil(edge), 0, size).astype(np.int64) for edge in (np.minimum(one, other), np.maximum(one, other))
    )
    span_N, column_N = _spread(first, end)
    owner_N = owner_S[span_N]
    start_S = depth0[owner_S] + from_top * by_y[owner_S] - x0[owner_S] * by_x[owner_S]
    depth_N = start_S[span_N] + column_N.astype(np.float32) * by_x[owner_N]

    # The nearest wins; of equally near ones the triangle counted last.
    bits = max(1, len(kept)).bit_length()
    key_N = (np.floor(depth_N.astype(np.float64) * _DEPTH_STEPS).astype(np.int64) << bits) | owner_N
    nearest = np.full(size * size, np.iinfo(np.int64).min)
    np.maximum.at(nearest, row_S[span_N] * size + column_N, key_N)
    places = np.flatnonzero(nearest != np.iinfo(np.int64).min)
    key = nearest[places]
    triangles = kept[key & ((1 << bits) - 1)]
    return Hits(
        places,
        triangles,
        _shares(places, size, x_T3[triangles], y_T3[triangles], area_T[triangles]),
        ((key >> bits).astype(np.float64) / _DEPTH_STEPS).astype(np.float32),
    )


def blended(values_VK: np.ndarray, corners_N3: np.ndarray, shares_N3: np.ndarray) -> np.ndarray:
    """Values of the corners, mixed by their shares: float32 (N, K)."""
    mixed = np.take(values_VK, corners_N3[:, 0], axis=0) * shares_N3[:, :1]
    for corner in (1, 2):
        mixed += np.take(values_VK, corners_N3[:, corner], axis=0) * shares_N3[:, corner : corner + 1]
    return mixed


def _doubled_area(x_T3: np.ndarray, y_T3: np.ndarray) -> np.ndarray:
    """Twice the area, positive when the corners run clockwise in a picture whose y points down."""
    right, down = x_T3[:, 1:] - x_T3[:, :1], y_T3[:, 1:] - y_T3[:, :1]
    return right[:, 0] * down[:, 1] - right[:, 1] * down[:, 0]


def _ends(values_T3: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The least and the greatest of each three; several times as fast as a reduction over so short an axis."""
    first, second, third = values_T3[:, 0], values_T3[:, 1], values_T3[:, 2]
    return np.minimum(np.minimum(first, second), third), np.maximum(np.maximum(first, second), third)


def _shares(places_N: np.ndarray, size: int, x_N3: np.ndarray, y_N3: np.ndarray, area_N: np.ndarray) -> np.ndarray:
    """Barycentric coordinates of the samples in their triangles, float32 (N, 3)."""
    x, y = (places_N % size).astype(np.float32), (places_N // size).astype(np.float32)
    from_x, from_y = x - x_N3[:, 0], y - y_N3[:, 0]
    second = (from_x * (y_N3[:, 2] - y_N3[:, 0]) - from_y * (x_N3[:, 2] - x_N3[:, 0])) / area_N
    third = (from_y * (x_N3[:, 1] - x_N3[:, 0]) - from_x * (y_N3[:, 1] - y_N3[:, 0])) / area_N
    return np.stack([1 - second - third, second, third], axis=1).clip(0, 1)


def _slope(x0: np.ndarray, y0: np.ndarray, x1: np.ndarray, y1: np.ndarray) -> np.ndarray:
    """dx / dy; 0 for level edges, which no row crosses."""
    height = y1 - y0
    return (x1 - x0) / np.where(height > 0, height, np.float32(np.inf))


def _spread(first: np.ndarray, end: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(owner, value) for each integer of each range [first, end), in order."""
    counts = np.maximum(end - first, 0)
    owner = np.repeat(np.arange(len(counts)), counts)
    value = np.arange(len(owner)) - np.repeat(np.cumsum(counts) - counts - first, counts)
    return owner, value
