"""erase: which pixels, and what is in them; mask: which pixels against matplotlib's polygons, and the colour."""

import numpy as np
import torch
from matplotlib.path import Path

from recognition.data.augment.covering import MASK_CORNERS, polygon_cover
from tests.data.augment.pictures import changed, draws, faces

COUNT, SIZE = 200, 32
# The five points of ArcFace's template in pictures of 112 pixels: eyes, nose, corners of the mouth.
EYES = ((38.3, 51.7), (73.5, 51.5))
NOSE_AND_MOUTH = ((56.0, 71.7), (41.5, 92.4), (70.7, 92.2))


def rectangles(pictures, found):
    """Per picture the box (top, bottom, left, right) of pixels that differ; AssertionError where one in it does not."""
    differs = (found != pictures).any(-1)
    boxes = []
    for picture in differs:
        rows, columns = np.flatnonzero(picture.any(1)), np.flatnonzero(picture.any(0))
        box = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
        # Noise may be what was there: once in 2^24.
        assert picture[box[0] : box[1], box[2] : box[3]].all()
        boxes.append(box)
    return np.array(boxes).T


def test_erase_fills_one_rectangle_of_the_size_that_is_asked():
    pictures = np.full((COUNT, SIZE, SIZE, 3), 77, np.uint8)
    found = changed("erase", pictures, area=(0.05, 0.3))
    top, bottom, left, right = rectangles(pictures, found)
    rows, columns = bottom - top, right - left
    wanted = draws(COUNT).between(0.05, 0.3).numpy() * SIZE**2
    # Each side is rounded by half a pixel at most.
    assert (np.abs(rows * columns - wanted) <= 0.5 * (rows + columns) + 0.25).all()
    longer = rows / columns
    assert 1.7 < longer.max() < 2.3
    assert 1.7 < (1 / longer).max() < 2.3
    assert abs(np.mean(rows > columns) - np.mean(rows < columns)) < 4 / np.sqrt(COUNT)
    # Anywhere, up to both edges.
    for start, stop in ((top, bottom), (left, right)):
        assert start.min() == 0
        assert stop.max() == SIZE
        assert abs(np.mean(start / (SIZE - (stop - start))) - 0.5) < 4 / np.sqrt(12 * COUNT)


def test_erase_of_everything_is_noise():
    pictures = np.zeros((4, SIZE, SIZE, 3), np.uint8)
    found = changed("erase", pictures, area=(1, 1))
    streams = draws(4)
    for _ in range(4):
        streams.between(0, 1)
    noise = streams.noise(SIZE * SIZE * 3, torch.device("cpu")).reshape(4, 3, SIZE, SIZE).permute(0, 2, 3, 1).numpy()
    inside = (found == noise).all(-1)
    # A square of the whole picture is cut where it is longer than the picture.
    assert inside.mean() > 0.7
    assert (found[~inside] == 0).all()


def test_mask_covers_nose_and_mouth_but_no_eye():
    pictures = np.ones((COUNT, 112, 112, 3), np.uint8)
    found = changed("mask", pictures)
    for x, y in NOSE_AND_MOUTH:
        assert (found[:, round(y), round(x)] != 1).any(-1).all()
    for x, y in EYES:
        assert (found[:, : round(y) + 1] == 1).all()
        assert (found[:, round(y), round(x)] == 1).all()
    covered = (found != 1).any(-1).mean((1, 2))
    assert 0.2 < covered.min() < covered.max() < 0.4
    assert len({picture.tobytes() for picture in (found != 1).any(-1)}) > 0.9 * COUNT  # the shape varies


def test_mask_is_of_one_colour_and_blends_at_its_edge():
    pictures = faces(20)
    found = changed("mask", pictures)
    colours = found[:, 85, 56]
    assert len(np.unique(colours, axis=0)) == 20
    between = np.minimum(pictures, colours[:, None, None]), np.maximum(pictures, colours[:, None, None])
    assert ((found >= between[0]) & (found <= between[1])).all()
    plain = (found == colours[:, None, None]).all(-1) | (found == pictures).all(-1)
    assert 0.96 < plain.mean() < 1


def test_mask_has_any_colour():
    colours = changed("mask", faces(1).repeat(COUNT, 0))[:, 85, 56].astype(float)
    assert np.abs(colours.mean(0) - 127.5).max() < 4 * 256 / np.sqrt(12 * COUNT)
    assert np.abs(np.corrcoef(colours.T) - np.eye(3)).max() < 4 / np.sqrt(COUNT)


def test_a_small_picture_has_a_small_mask():
    large, small = ((changed("mask", np.ones((9, s, s, 3), np.uint8)) != 1).any(-1) for s in (112, 28))
    blocks = large.reshape(9, 28, 4, 28, 4)
    assert small[blocks.all((2, 4))].all()
    assert not small[~(blocks.any((2, 4)))].any()


def test_cover_is_inside_of_the_polygon():
    corners_K2 = np.array(MASK_CORNERS, float)
    cover = polygon_cover(torch.from_numpy(corners_K2)[None], 120)[0].numpy()
    middles = np.stack(np.meshgrid(np.arange(120) + 0.5, np.arange(120) + 0.5), -1).reshape(-1, 2)
    inside = Path(corners_K2).contains_points(middles).reshape(120, 120)
    np.testing.assert_array_equal(cover > 0.5, inside & (cover != 0.5))
    assert (cover[cover != 0.5] > 0.5).sum() > 3000
    # The area of the polygon by its corners (the shoelace formula).
    x, y = corners_K2.T
    area = 0.5 * abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1)))
    assert abs(cover.sum() - area) < 0.002 * area
    partly = cover[(cover > 0) & (cover < 1)]
    assert np.array_equal(partly * 256, np.round(partly * 256))
