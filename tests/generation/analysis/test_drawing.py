"""Annotated pictures: what was found is drawn where it is, in its colour, at a size that can be read."""

import numpy as np
import pytest

from generation.analysis.drawing import AXES, BOX, LANDMARKS, PAPER, annotated, label_of, mask_over
from generation.analysis.faces import AnalysedFace, Pose
from generation.analysis.gender_age import GenderAge
from generation.analysis.landmarks import Landmarks
from generation.analysis.parts import FaceMask
from generation.parsing.overlay import COLOURS
from recognition.heads.classes import Class

GREY = np.full((300, 400, 3), 128, np.uint8)


def face(x=100, y=80, side=100, **what) -> AnalysedFace:
    return AnalysedFace(np.array([x, y, x + side, y + side], np.float32), 0.93, **what)


def near(picture: np.ndarray, x: float, y: float, colour: tuple) -> bool:
    """Whether a pixel within 3 of (x, y) has the colour, up to the edges' smoothing."""
    part = picture[int(y) - 3 : int(y) + 4, int(x) - 3 : int(x) + 4].astype(int)
    return bool((np.abs(part - np.array(colour)).max(-1) < 50).any())


@pytest.mark.parametrize(
    ("size", "longer"), [((30, 40), 640), ((300, 400), 640), ((900, 1200), 1200), ((1500, 2000), 1600)]
)
def test_pictures_of_all_sizes_are_shown_at_one_that_can_be_read(size, longer):
    drawn = annotated(np.full((*size, 3), 128, np.uint8), [])
    assert drawn.shape[1] == longer
    assert longer * 3 // 4 < drawn.shape[0] < longer * 3 // 4 + 60  # and the legend
    assert drawn[-1, -1].tolist() == list(PAPER)


def test_boxes_and_landmarks_are_where_they_are():
    points = np.random.default_rng(0).uniform(110, 170, (68, 2))
    found = face(landmarks={"68": Landmarks(points, "x")})
    drawn, scale = annotated(GREY, [found]), 640 / 400
    for x, y in points:
        assert near(drawn, x * scale, y * scale, LANDMARKS["68"])
    for x, y in ((150, 80), (100, 130), (200, 130), (150, 180)):
        assert near(drawn, x * scale, y * scale, BOX)
    assert not near(drawn, 300 * scale, 130 * scale, BOX)


def test_the_axis_that_the_face_looks_along_leans_where_it_looks():
    for yaw, side in ((40.0, 1), (-40.0, -1)):
        drawn = annotated(GREY, [face(pose=Pose((0.0, yaw, 0.0), "x"))])[:480].astype(int)
        blue = np.abs(drawn - np.array(AXES[2][1])).max(-1) < 30
        assert np.sign(np.nonzero(blue)[1].mean() - 150 * 1.6) == side


def test_parts_are_blended_in_and_the_surer_face_is_in_front():
    front = FaceMask(np.full((20, 20), Class.SKIN, np.uint8), 10, 10, "x")
    behind = FaceMask(np.full((20, 20), Class.HAIR, np.uint8), 20, 20, "x")
    shown, classes = mask_over(GREY, [face(mask=front), face(), face(mask=behind)])
    assert classes[25, 25] == Class.SKIN
    assert classes[35, 35] == Class.HAIR
    assert classes.sum() == 400 * Class.SKIN + 300 * Class.HAIR
    colour = COLOURS[Class.SKIN].astype(int)
    np.testing.assert_allclose(shown[15, 15], 128 * 0.55 + colour * 0.45, atol=0.5)
    np.testing.assert_array_equal(shown[100:], GREY[100:])
    same, nothing = mask_over(GREY, [face()])
    assert nothing is None
    np.testing.assert_array_equal(same, GREY)


def test_classes_have_colours_of_their_own():
    colours = COLOURS.astype(int)
    apart = np.abs(colours[:, None] - colours[None]).max(-1) + 255 * np.eye(len(colours), dtype=int)
    assert colours.shape == (19, 3)
    assert apart.min() >= 20


def test_labels_say_what_is_known():
    guess = GenderAge("female", 1.0, 31, "x")
    assert label_of(face()) == "0.93"
    assert label_of(face(gender_age=guess)) == "0.93  female, 31 years"
    assert label_of(face(pose=Pose((-3.2, 12.6, 0.1), "x"))) == "0.93\npitch -3°  yaw +13°  roll +0°"


def test_labels_in_a_crowd_cover_no_other_face():
    crowd = [face(x, y, 60, pose=Pose((0.0, 0.0, 0.0), "x")) for x in range(20, 340, 75) for y in range(30, 220, 68)]
    plain = [face(x, y, 60) for x in range(20, 340, 75) for y in range(30, 220, 68)]
    drawn, scale = annotated(GREY, crowd), 640 / 400
    for each in plain:
        x1, y1, x2, y2 = (each.box_4 * scale).astype(int)
        inside = drawn[y1 + 6 : y2 - 6, x1 + 6 : x2 - 6]
        dark = (np.abs(inside.astype(int) - np.array(PAPER)).max(-1) < 20).mean()
        assert dark <= 0.12
