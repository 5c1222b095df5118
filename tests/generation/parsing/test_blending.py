"""Edits end where their region does, to the bit, however the crop was turned."""

import numpy as np
import pytest
import torch
from scipy.ndimage import distance_transform_cdt

from generation.parsing.blending import FACE, blend_back, feathered, lay_back, region, within
from recognition.errors import InputError
from recognition.faces.alignment import similarity, template_points, warp
from recognition.heads.classes import NAMES


def test_a_region_is_where_its_classes_are():
    mask = torch.randint(0, 19, (2, 6, 7), dtype=torch.uint8)
    wanted = [[[float(int(each) in (1, 17)) for each in row] for row in picture] for picture in mask]
    assert region(mask, ["skin", 17]).tolist() == [[picture] for picture in wanted]
    assert region(mask.long(), FACE).sum() == sum(NAMES[int(each)] in FACE for each in mask.flatten())
    with pytest.raises(InputError, match=r"beard is no class of a face; classes are background, skin"):
        region(mask, ["beard"])
    with pytest.raises(InputError, match="19 is no class of a face; they are numbered 0 to 18"):
        region(mask, [19])


def blob(side=48):
    y, x = np.mgrid[:side, :side]
    return ((y - 22) ** 2 / 200 + (x - 25) ** 2 / 300 < 1) | (x > 40) & (y > 30)


@pytest.mark.parametrize("pixels", [1, 3, 5])
def test_the_feather_rises_with_the_distance_from_outside(pixels):
    inside = blob()
    distance = distance_transform_cdt(np.pad(inside, 1), "chessboard")[1:-1, 1:-1]
    wanted = (distance - 1).clip(0, pixels) / pixels
    found = feathered(torch.from_numpy(inside).float()[None, None], pixels)[0, 0].numpy()
    assert found == pytest.approx(wanted, abs=1e-6)


def turned(angle, scale):
    factor = scale * np.exp(1j * angle)
    return np.array([[factor.real, -factor.imag, 20.3], [factor.imag, factor.real, 4.8]])


@pytest.mark.parametrize("angle", [0.0, 0.4, -1.1])
@pytest.mark.parametrize("scale", [0.4, 1.0, 2.3])
def test_outside_the_region_the_photo_is_the_same_to_the_bit(angle, scale):
    draw = np.random.default_rng(0)
    photo = draw.integers(0, 256, (60, 70, 3), dtype=np.uint8)
    crop = draw.integers(0, 256, (48, 48, 3), dtype=np.uint8)
    inside, matrix = blob(), turned(angle, scale)
    out = blend_back(photo, crop, matrix, inside, feather=1)
    changed = (out != photo).any(2)
    assert changed.any()
    for y, x in np.argwhere(changed):
        column, row = np.rint(matrix @ (x, y, 1)).astype(int)
        assert 0 <= row < 48
        assert 0 <= column < 48
        assert inside[row, column]


def test_deep_inside_the_crop_itself_is_shown():
    draw = np.random.default_rng(1)
    photo, crop = draw.integers(0, 256, (2, 48, 48, 3), dtype=np.uint8)
    inside = blob()
    out = blend_back(photo, crop, np.eye(3)[:2], inside, feather=3)
    distance = distance_transform_cdt(np.pad(inside, 1), "chessboard")[1:-1, 1:-1]
    assert np.array_equal(out[distance >= 4], crop[distance >= 4])
    assert np.array_equal(out[distance <= 1], photo[distance <= 1])
    half = (distance == 2)[..., None] * (photo + (crop.astype(float) - photo) / 3)
    assert out[distance == 2] == pytest.approx(half[distance == 2], abs=0.51)


def test_it_undoes_the_alignment_of_a_face():
    y, x = np.mgrid[:160, :160]
    photo = np.stack([60 + x / 2, 40 + y / 2, 100 + (x + y) / 4], 2).astype(np.uint8)
    points = template_points(112) * 0.7 @ np.array([[0.96, 0.28], [-0.28, 0.96]]) + (50, 20)
    matrix = similarity(points, template_points(112))
    crop = warp(photo, matrix, 112)
    inside = np.zeros((112, 112), bool)
    inside[20:90, 20:90] = True
    out = blend_back(photo, crop, matrix, inside)
    assert np.abs(out.astype(int) - photo).max() <= 1
    other = blend_back(photo, 255 - crop, matrix, inside)
    assert np.abs(other.astype(int) - photo).max() > 50


def test_only_the_region_is_seen():
    img, where = torch.rand(2, 3, 4, 4), torch.zeros(2, 1, 4, 4)
    where[:, :, 1:3] = 1
    out = within(img, where)
    assert torch.equal(out[:, :, 1:3], img[:, :, 1:3])
    assert (out[:, :, [0, 3]] == 0.5).all()


def test_a_crop_and_its_region_have_one_size():
    with pytest.raises(ValueError, match="its region has its size"):
        blend_back(np.zeros((9, 9, 3), np.uint8), np.zeros((8, 8, 3), np.uint8), np.eye(3)[:2], np.ones((7, 7), bool))
    with pytest.raises(ValueError, match="at least 1 pixel, not 0"):
        feathered(torch.ones(1, 1, 2, 2), 0)


def test_what_an_edit_changes_is_laid_on_the_photos_own_detail():
    draw = np.random.default_rng(0)
    photo = draw.integers(60, 200, (96, 96, 3), dtype=np.uint8)
    before = draw.integers(60, 200, (48, 48, 3), dtype=np.uint8)
    inside, matrix = blob(), np.array([[0.5, 0, -0.25], [0, 0.5, -0.25]])
    assert (lay_back(photo, before, before, matrix, inside) == photo).all()
    out = lay_back(photo, before, before + np.uint8(30), matrix, inside, feather=2)
    distance = distance_transform_cdt(np.pad(inside, 1), "chessboard")[1:-1, 1:-1].repeat(2, 0).repeat(2, 1)
    assert (out[distance == 0] == photo[distance == 0]).all()
    assert (out[distance >= 4] == photo[distance >= 4] + 30).all()
    between = out.astype(int) - photo
    assert between.min() >= 0
    assert between.max() == 30


def test_changes_end_where_a_byte_does():
    photo, before = np.full((8, 8, 3), 250, np.uint8), np.zeros((8, 8, 3), np.uint8)
    out = lay_back(photo, before, before + np.uint8(90), np.eye(2, 3), np.ones((8, 8), bool), feather=1)
    assert out.max() == 255
