"""Exact points against a pinhole camera in homogeneous coordinates, SciPy's rotations and a larger picture aligned."""

import dataclasses

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from recognition.faces.alignment import align, template_points
from recognition.heads import Class, Scene, aligned, draw_person, draw_scene, render

PEOPLE = range(6)
POSES = [(0, 0, 0), (0, 40, 0), (-20, -35, 15), (30, 80, -40), (0, -90, 0)]


def pinhole(points_N3, scene, matrix_23):
    """Through a camera `distance_dm` in front of the head, as a product of 3x4 and 3x3 matrices."""
    # The camera looks along its own depth axis; the head's z points at it.
    world_to_camera = np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, -1, scene.distance_dm]])
    intrinsics = np.vstack([matrix_23, [0, 0, 1]]) @ np.diag([scene.distance_dm, scene.distance_dm, 1])
    homogeneous = np.concatenate([points_N3, np.ones((len(points_N3), 1))], axis=1)
    projected = homogeneous @ (intrinsics @ world_to_camera).T
    return projected[:, :2] / projected[:, 2:]


@pytest.mark.parametrize("number", PEOPLE)
def test_pixels_of_the_points_are_those_of_a_pinhole_camera(number):
    rng = np.random.default_rng(number)
    scene = draw_scene(0, number)
    matrix = rng.normal((0, 0, 30), (15, 15, 3), (2, 3))
    picture = render(draw_person(0, number), scene, 64, matrix_23=matrix)
    np.testing.assert_allclose(picture.points_52, pinhole(picture.points_53, scene, matrix), atol=1e-9)


@pytest.mark.parametrize("pose_deg", POSES)
def test_points_turn_as_the_matrix_says(pose_deg):
    person, scene = draw_person(0, 1), draw_scene(0, 1)
    still, turned = (render(person, dataclasses.replace(scene, pose_deg=pose), 32) for pose in ((0, 0, 0), pose_deg))
    turn = Rotation.from_euler("xyz", pose_deg, degrees=True)
    np.testing.assert_allclose(turned.points_53, turn.apply(still.points_53), atol=1e-9)
    assert turned.pose_deg.tolist() == list(pose_deg)
    # And back from the points alone, by Kabsch as SciPy has it.
    centred = [picture.points_53 - picture.points_53.mean(0) for picture in (turned, still)]
    found, _ = Rotation.align_vectors(*centred)
    assert np.rad2deg((found * turn.inv()).magnitude()) < 1e-4


def test_anatomy_of_the_points():
    for number in PEOPLE:
        picture = render(draw_person(0, number), Scene(), 112)
        (lx, ly), (rx, ry), (nx, ny), (mlx, mly), (mrx, mry) = picture.points_52
        assert lx < mlx < nx < mrx < rx
        assert max(ly, ry) < ny < min(mly, mry)
        assert picture.points_53[:, 2].argmax() == 2
        x1, y1, x2, y2 = picture.box_4
        assert (picture.points_52 > (x1, y1)).all()
        assert (picture.points_52 < (x2, y2)).all()


@pytest.mark.parametrize("number", PEOPLE)
def test_the_box_holds_the_face_and_little_else(number):
    picture = render(draw_person(0, number, eyeglasses=False), draw_scene(0, number), 160)
    of_face = (picture.mask_HW >= Class.LEFT_BROW) & (picture.mask_HW <= Class.RIGHT_EYE)
    of_face |= (picture.mask_HW >= Class.NOSE) & (picture.mask_HW <= Class.LOWER_LIP)
    rows, columns = np.nonzero(of_face)
    x1, y1, x2, y2 = picture.box_4
    assert x1 - 0.5 <= columns.min()
    assert columns.max() <= x2 + 0.5
    assert y1 - 0.5 <= rows.min()
    assert rows.max() <= y2 + 0.5
    skin = (picture.mask_HW == Class.SKIN) | of_face
    inside = np.zeros_like(skin)
    inside[max(0, int(y1)) : int(y2) + 2, max(0, int(x1)) : int(x2) + 2] = True
    assert (skin & inside).sum() > 0.8 * skin.sum()
    assert (skin & inside).sum() > 0.4 * inside.sum()


@pytest.mark.parametrize("size", [64, 112])
@pytest.mark.parametrize("number", PEOPLE)
def test_drawn_aligned_is_as_drawn_large_and_aligned(number, size):
    scene = dataclasses.replace(draw_scene(0, number), blur=0, noise_levels=0)
    person = draw_person(0, number)
    direct, large = aligned(person, scene, size), render(person, scene, 4 * size)
    cut = align(large.pixels_HWC, large.points_52, size=size)
    # The backdrop belongs to the picture and not to the place; and where the large picture ends, the cut is black.
    shown = (direct.mask_HW != Class.BACKGROUND) & cut.any(-1)
    assert shown.mean() > 0.4
    difference = np.abs(direct.pixels_HWC.astype(int) - cut)[shown]
    assert difference.mean() < 3
    aside = np.abs(np.roll(direct.pixels_HWC, 1, axis=1).astype(int) - cut)[shown]
    assert aside.mean() > 1.8 * difference.mean(), "one pixel aside it fits far worse"


def test_errors_of_a_detector_move_the_picture():
    person, scene = draw_person(0, 2), draw_scene(0, 2)
    exact = aligned(person, scene, 112)
    shifted = aligned(person, scene, 112, shift_52=np.full((5, 2), 0.1))
    # All points are thought to lie 1 cm further right and down than they do, so the crop shows them left and above.
    assert (shifted.points_52 < exact.points_52 - 1).all()
    template = template_points(112)
    np.testing.assert_allclose(exact.points_52.mean(0), template.mean(0), atol=1e-6)
    np.testing.assert_allclose(exact.points_52, template, atol=12)
