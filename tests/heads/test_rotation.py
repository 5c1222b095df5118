"""Angles and matrices against SciPy's, and signs as the docstring says them."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from recognition.heads import pose_of, rotation_of

RNG = np.random.default_rng(0)
POSES = np.concatenate([RNG.uniform((-180, -89.9, -180), (180, 89.9, 180), (200, 3)), np.eye(3) * 30, -np.eye(3) * 30])
FORWARD, RIGHT = np.array([0, 0, 1]), np.array([1, 0, 0])


def test_a_matrix_is_scipys_and_gives_the_angles_back():
    for pose_deg in POSES:
        found = rotation_of(pose_deg)
        np.testing.assert_allclose(found, Rotation.from_euler("xyz", pose_deg, degrees=True).as_matrix(), atol=1e-11)
        np.testing.assert_allclose(pose_of(found), pose_deg, atol=1e-7)
        np.testing.assert_allclose(Rotation.from_matrix(found).as_euler("xyz", degrees=True), pose_deg, atol=1e-7)


@pytest.mark.parametrize("yaw", [90, -90])
def test_at_a_right_angle_the_same_matrix_comes_of_the_angles_found(yaw):
    turn = rotation_of((20, yaw, 50))
    pitch, found_yaw, roll = pose_of(turn)
    assert roll == 0
    assert found_yaw == pytest.approx(yaw, abs=1e-4)
    np.testing.assert_allclose(rotation_of((pitch, found_yaw, roll)), turn, atol=1e-6)


def test_signs():
    x, _, z = rotation_of((0, 30, 0)) @ FORWARD
    assert x > 0.4, "positive yaw: to the picture's right"
    assert z > 0.8, "and still towards the viewer"
    assert (rotation_of((30, 0, 0)) @ FORWARD)[1] < -0.4, "positive pitch: up, and y points down"
    assert (rotation_of((0, 0, 30)) @ RIGHT)[1] > 0.4, "positive roll: clockwise"
