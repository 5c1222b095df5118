"""Classes of pixels: what a parser says of the aligned head comes back to each pixel of the picture."""

import numpy as np

from generation.analysis.parts import HEAD_52, SIZE, FaceMask, mask_of
from recognition.faces.alignment import similarity
from recognition.heads import draw_person, draw_scene, render
from recognition.heads.classes import Class


def by_thirds(pixels_HWC):
    """Skin in the upper third of the crop, hair in the rest."""
    classes = np.full(pixels_HWC.shape[:2], Class.HAIR, np.uint8)
    classes[: SIZE // 3] = Class.SKIN
    return classes


def test_each_pixel_takes_the_class_of_the_nearest_of_the_crop():
    picture = np.zeros((90, 70, 3), np.uint8)
    turn = np.array([[0.9, -0.35], [0.35, 0.9]]) * 0.09
    points = HEAD_52 @ turn.T + (25, 5)
    mask = mask_of(by_thirds, picture, points)
    matrix = similarity(points, HEAD_52)
    brute = np.zeros((90, 70), np.uint8)
    for y in range(90):
        for x in range(70):
            column, row = (int(round(m[0] * x + m[1] * y + m[2])) for m in matrix)
            if 0 <= column < SIZE and 0 <= row < SIZE:
                brute[y, x] = Class.SKIN if row < SIZE // 3 else Class.HAIR
    laid = np.zeros((90, 70), np.uint8)
    mask.laid_on(laid)
    np.testing.assert_array_equal(laid, brute)
    assert mask.counts() == {"skin": int((brute == Class.SKIN).sum()), "hair": int((brute == Class.HAIR).sum())}
    assert 0 < mask.counts()["skin"] < mask.counts()["hair"]


def test_the_crop_shows_the_whole_head():
    for number in range(6):
        picture = render(draw_person(1, number), draw_scene(1, number), 320)
        seen = []

        def colours(pixels_HWC, seen=seen):
            seen.append(pixels_HWC)
            return np.zeros((SIZE, SIZE), np.uint8)

        mask = mask_of(colours, picture.pixels_HWC, picture.points_52)
        face = np.isin(picture.mask_HW, [Class.SKIN, Class.NOSE, Class.UPPER_LIP, Class.LOWER_LIP])
        rows, columns = np.nonzero(face)
        assert mask.left <= columns.min()
        assert mask.top <= rows.min()
        assert mask.left + mask.classes_HW.shape[1] > columns.max()
        assert mask.top + mask.classes_HW.shape[0] > rows.max()
        assert seen[0].shape == (SIZE, SIZE, 3)


def test_background_covers_nothing():
    below = np.full((4, 4), Class.CLOTH, np.uint8)
    FaceMask(np.array([[0, Class.SKIN]], np.uint8), 1, 2, "x").laid_on(below)
    assert below[2].tolist() == [Class.CLOTH, Class.CLOTH, Class.SKIN, Class.CLOTH]


def test_a_parser_that_knows_the_drawn_head_gives_its_own_mask_back():
    picture = render(draw_person(2, 3), draw_scene(2, 3), 300)
    matrix = similarity(picture.points_52, HEAD_52)
    inverse = np.linalg.inv(np.vstack([matrix, [0, 0, 1]]))[:2]

    def parser(pixels_HWC):
        y, x = np.mgrid[:SIZE, :SIZE]
        column, row = (np.rint(m[0] * x + m[1] * y + m[2]).astype(int) for m in inverse)
        inside = (column >= 0) & (column < 300) & (row >= 0) & (row < 300)
        return np.where(inside, picture.mask_HW[row.clip(0, 299), column.clip(0, 299)], 0).astype(np.uint8)

    mask = mask_of(parser, picture.pixels_HWC, picture.points_52)
    part = picture.mask_HW[mask.top :, mask.left :][: mask.classes_HW.shape[0], : mask.classes_HW.shape[1]]
    inside = mask.classes_HW > 0
    # There are more pixels in the crop than in the picture: each finds itself again.
    assert np.hypot(matrix[0, 0], matrix[1, 0]) > 1
    assert (mask.classes_HW[inside] == part[inside]).mean() > 0.999
