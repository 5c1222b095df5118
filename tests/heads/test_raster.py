"""Which triangle a sample sees, against a look at every triangle for every sample."""

import numpy as np
import pytest

from recognition.heads.raster import blended, visible

SIZE = 40


def looked_up(screen_V3, corners_T3, size):
    """Triangle (or -1), depth and shares at each sample, by half planes in float64."""
    y, x = np.mgrid[:size, :size].astype(float)
    nearest, best, shares = np.full((size, size), -np.inf), np.full((size, size), -1), np.zeros((size, size, 3))
    for index, corners in enumerate(corners_T3):
        a, b, c = screen_V3[corners].astype(float)
        area = (b[0] - a[0]) * (c[1] - a[1]) - (c[0] - a[0]) * (b[1] - a[1])
        if area <= 0:
            continue
        of_b = ((x - a[0]) * (c[1] - a[1]) - (y - a[1]) * (c[0] - a[0])) / area
        of_c = ((y - a[1]) * (b[0] - a[0]) - (x - a[0]) * (b[1] - a[1])) / area
        three = np.stack([1 - of_b - of_c, of_b, of_c], axis=-1)
        depth = three @ np.array([a[2], b[2], c[2]])
        seen = (three >= 0).all(-1) & (depth > nearest)
        nearest[seen], best[seen], shares[seen] = depth[seen], index, three[seen]
    return best, nearest, shares


@pytest.mark.parametrize("seed", range(5))
def test_samples_see_what_a_search_finds(seed):
    rng = np.random.default_rng(seed)
    corners = rng.uniform(-10, SIZE + 10, (60, 3, 2))
    screen = np.concatenate([corners, rng.uniform(-2, 2, (60, 3, 1))], axis=2).reshape(-1, 3).astype(np.float32)
    triangles = np.arange(180).reshape(60, 3)
    hits = visible(screen, triangles, SIZE)
    expected, depth, shares = looked_up(screen, triangles, SIZE)
    assert hits.places_N.tolist() == np.flatnonzero(expected.ravel() >= 0).tolist()
    # Where two depths are one to the last step of the buffer, either may win.
    same = hits.triangles_N == expected.ravel()[hits.places_N]
    assert same.mean() > 0.999
    np.testing.assert_allclose(hits.depths_N, depth.ravel()[hits.places_N], atol=3e-5)
    np.testing.assert_allclose(hits.shares_N3[same], shares.reshape(-1, 3)[hits.places_N][same], atol=2e-4)
    values = rng.normal(size=(180, 2)).astype(np.float32)
    mixed = blended(values, triangles[hits.triangles_N], hits.shares_N3)
    by_hand = np.einsum("nc,nck->nk", hits.shares_N3, values[triangles[hits.triangles_N]])
    np.testing.assert_allclose(mixed, by_hand, atol=1e-5)


def test_neighbours_leave_no_gap_and_share_no_sample():
    rng = np.random.default_rng(9)
    grid = np.stack(np.meshgrid(np.linspace(-3, SIZE + 2, 14), np.linspace(-3, SIZE + 2, 14)), axis=-1)
    grid[1:-1, 1:-1] += rng.uniform(-0.9, 0.9, (12, 12, 2))
    # Some corners and edges exactly on samples, where a careless rule would count twice or not at all.
    grid[3:9, 3:9] = np.round(grid[3:9, 3:9])
    screen = np.concatenate([grid.reshape(-1, 2), np.zeros((196, 1))], axis=1).astype(np.float32)
    left = (np.arange(13)[:, None] * 14 + np.arange(13)).ravel()
    triangles = np.concatenate([np.stack(t, 1) for t in ((left, left + 1, left + 15), (left, left + 15, left + 14))])
    alone = [visible(screen, triangle[None], SIZE).places_N for triangle in triangles]
    assert np.array_equal(np.sort(np.concatenate(alone)), np.arange(SIZE * SIZE))
    assert len(visible(screen, triangles, SIZE).places_N) == SIZE * SIZE


def test_what_faces_away_or_lies_outside_is_not_seen():
    corners = np.array([[5, 5, 0], [20, 5, 0], [20, 20, 0], [500, 5, 0], [520, 5, 0], [520, 20, 0]], np.float32)
    assert len(visible(corners, np.array([[0, 1, 2]]), SIZE).places_N) > 100
    assert len(visible(corners, np.array([[0, 2, 1], [3, 4, 5]]), SIZE).places_N) == 0
