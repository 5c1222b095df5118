"""Classes of pixels against the points, the attributes and what a turned head can show."""

import dataclasses

import numpy as np
import pytest
from scipy.ndimage import binary_fill_holes

from recognition.heads import Class, HairStyle, Scene, draw_person, draw_scene, render

PEOPLE = range(8)
SIZE = 192
EYES = (Class.LEFT_EYE, Class.RIGHT_EYE)


def at(picture, point, reach=0):
    """The classes within `reach` pixels of a point."""
    x, y = np.rint(picture.points_52[point]).astype(int)
    return set(picture.mask_HW[y - reach : y + reach + 1, x - reach : x + reach + 1].ravel().tolist())


def share(picture, *classes):
    return np.isin(picture.mask_HW, classes).mean()


@pytest.mark.parametrize("number", PEOPLE)
def test_the_mask_has_its_classes_at_the_points(number):
    picture = render(draw_person(0, number), Scene(mouth_open=0.0), SIZE)
    assert at(picture, 0) == {Class.LEFT_EYE}
    assert at(picture, 1) == {Class.RIGHT_EYE}
    assert at(picture, 2) == {Class.NOSE}
    lips = {Class.UPPER_LIP, Class.LOWER_LIP}
    for corner, aside in ((3, 4), (4, -4)):
        assert at(picture, corner, 1) & (lips | {Class.SKIN})
        moved = dataclasses.replace(picture, points_52=picture.points_52 + (aside, 0))
        assert at(moved, corner, 2) & lips, "a little inwards there is lip"
        moved = dataclasses.replace(picture, points_52=picture.points_52 - (aside, 0))
        assert not at(moved, corner) & lips, "and none a little outwards"


@pytest.mark.parametrize("number", PEOPLE)
def test_left_is_left_and_brows_are_above_eyes(number):
    person = draw_person(0, number)
    picture = render(person, Scene(neckline=0.0), SIZE)
    rows, columns = np.mgrid[:SIZE, :SIZE]
    middle = {c: (columns[picture.mask_HW == c].mean(), rows[picture.mask_HW == c].mean()) for c in range(2, 6)}
    assert middle[Class.LEFT_EYE][0] < SIZE / 2 < middle[Class.RIGHT_EYE][0]
    assert middle[Class.LEFT_BROW][0] < SIZE / 2 < middle[Class.RIGHT_BROW][0]
    assert middle[Class.LEFT_BROW][1] < middle[Class.LEFT_EYE][1] - 3
    assert middle[Class.RIGHT_BROW][1] < middle[Class.RIGHT_EYE][1] - 3
    if person.hair_style not in (HairStyle.BOB, HairStyle.LONG):
        assert columns[picture.mask_HW == Class.LEFT_EAR].max() < columns[picture.mask_HW == Class.RIGHT_EAR].min()
    # Neck under the face, clothes under the neck, nothing that is never drawn.
    below = picture.mask_HW[:, SIZE // 2]
    assert rows[:, 0][below == Class.NECK].max() < rows[:, 0][below == Class.CLOTH].min()
    assert not share(picture, Class.EARRING, Class.NECKLACE, Class.HAT)


def test_closed_eyes_are_skin_and_open_mouths_have_an_inside():
    person = draw_person(0, 1, eyeglasses=False)
    assert share(render(person, Scene(), SIZE), *EYES) > 0.002
    closed = render(person, Scene(eyes_closed=1.0), SIZE)
    assert share(closed, *EYES) == 0
    assert at(closed, 0) == {Class.SKIN}
    assert share(render(person, Scene(), SIZE), Class.MOUTH) == 0
    assert share(render(person, Scene(mouth_open=0.8), SIZE), Class.MOUTH) > 0.001


def test_glasses_cover_all_but_eyes_and_brows():
    person = draw_person(0, 1, eyeglasses=True)
    worn, off = (render(person, Scene(glasses_off=off), SIZE) for off in (False, True))
    assert share(off, Class.EYEGLASSES) == 0
    assert share(worn, Class.EYEGLASSES) > 0.01
    assert at(worn, 0) == {Class.LEFT_EYE}
    became = worn.mask_HW == Class.EYEGLASSES
    assert not np.isin(off.mask_HW[became], (Class.NECK, Class.CLOTH, Class.MOUTH)).any()
    unchanged = np.isin(off.mask_HW, (Class.MOUTH, Class.UPPER_LIP, Class.LOWER_LIP, Class.NECK, Class.CLOTH))
    assert (worn.mask_HW == off.mask_HW)[unchanged].all()


@pytest.mark.parametrize("side", [-1, 1])
@pytest.mark.parametrize("number", PEOPLE[:6])
def test_in_profile_the_nearer_half_hides_the_other(number, side):
    person = draw_person(0, number, eyeglasses=False)
    picture = render(person, Scene(pose_deg=(0, 90 * side, 0)), SIZE)
    # Looking to the picture's right, a face shows what was at its left.
    near, far = EYES if side > 0 else EYES[::-1]
    assert share(picture, near) > 0.0005
    assert share(picture, far) == 0
    near, far = (Class.LEFT_EAR, Class.RIGHT_EAR)[::side]
    assert share(picture, far) == 0
    assert share(picture, near) > 0.001 or person.hair_style in (HairStyle.BOB, HairStyle.LONG)
    # The eyes lie one behind the other, but for perspective.
    np.testing.assert_allclose(picture.points_52[0], picture.points_52[1], atol=4)
    # The nose stands out: no other pixel of the face is further in the direction of view.
    columns = np.nonzero(np.isin(picture.mask_HW, (Class.SKIN, Class.NOSE, Class.UPPER_LIP)).any(0))[0]
    foremost = columns.max() if side > 0 else columns.min()
    assert (picture.mask_HW[:, foremost] == Class.NOSE).any()


@pytest.mark.parametrize("yaw", [-90, -60, -25, 0, 25, 60, 90])
@pytest.mark.parametrize("pitch", [-40, 0, 40])
def test_heads_have_no_holes(yaw, pitch):
    # Between a neck and long hair the background may be seen, as between a face and glasses.
    people = [draw_person(0, number, male=True, eyeglasses=False) for number in range(7)]
    for number, person in enumerate(person for person in people if person.hair_style is not HairStyle.BOB):
        scene = dataclasses.replace(draw_scene(0, number), pose_deg=(pitch, yaw, 0))
        shown = render(person, scene, 96).mask_HW != Class.BACKGROUND
        assert (binary_fill_holes(shown) == shown).all()
