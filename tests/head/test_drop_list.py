"""The drop list of a training with sub-centres, on angles in the plane that can be checked by hand."""

import numpy as np
import pytest
import torch

from recognition.errors import InputError
from recognition.head.drop_list import dominant_subcenters, drop_list, drop_list_of_nearest
from tests.head.test_cleanliness import at

# Class 0: images at 0, 10, 20 and one at 90 that has a sub-centre of its own; class 1: its second centre dominates;
# class 2 has no images.
LABELS = np.array([0, 0, 0, 0, 1, 1, 1])
IMAGES = at(0, 10, 20, 90, 180, 250, 255)
CENTERS = torch.from_numpy(np.stack([at(10, 95), at(170, 255), at(0, 5)])) * 2.5


def test_the_dominant_centre_stays_and_the_far_images_go():
    found = drop_list(IMAGES, LABELS, CENTERS)
    assert found.dominant_C.tolist() == [0, 1, -1]
    # Angles to the dominant centres: 10, 0, 10, 80 and 75, 5, 0.
    assert drop_list(IMAGES, LABELS, CENTERS, max_angle_deg=76).dropped_N.tolist() == [False] * 3 + [True] + [False] * 3
    assert drop_list(IMAGES, LABELS, CENTERS, max_angle_deg=74).dropped_N.tolist() == [False] * 3 + [
        True,
        True,
        False,
        False,
    ]
    assert drop_list(IMAGES, LABELS, CENTERS, max_angle_deg=81).dropped_N.sum() == 0
    np.testing.assert_allclose(found.centers_CD, at(10, 255, 0), atol=1e-6)


def test_seventy_five_degrees_is_the_default():
    centre = torch.from_numpy(at(0))[None]
    assert drop_list(at(74.9, 75.1), np.zeros(2, int), centre).dropped_N.tolist() == [False, True]


def test_from_what_a_training_step_knows():
    nearest, angles = np.array([0, 0, 0, 1, 0, 1, 1]), np.radians([10, 0, 10, 5, 10, 5, 0])
    found = drop_list_of_nearest(LABELS, nearest, np.cos(angles), 3, 2)
    assert found.dominant_C.tolist() == [0, 1, -1]
    assert found.dropped_N.tolist() == [False, False, False, True, True, False, False]
    assert found.centers_CD is None
    far = np.cos(np.radians([76, 0, 10, 5, 10, 74, 0]))
    assert drop_list_of_nearest(LABELS, nearest, far, 3, 2).dropped_N.tolist() == [
        True,
        False,
        False,
        True,
        True,
        False,
        False,
    ]


def test_the_first_of_equals_dominates():
    labels, nearest = np.array([1, 1, 1, 1]), np.array([2, 1, 2, 1])
    assert dominant_subcenters(labels, nearest, 2, 3).tolist() == [-1, 1]


@pytest.mark.parametrize("angle", [0, 181])
def test_an_angle_that_is_none_is_refused(angle):
    with pytest.raises(InputError, match="must lie in"):
        drop_list(IMAGES, LABELS, CENTERS, max_angle_deg=angle)
