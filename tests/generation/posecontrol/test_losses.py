"""The losses against plain numbers."""

import math

import pytest
import torch
from scipy.spatial.transform import Rotation

from generation.posecontrol.losses import image_loss, pose_loss
from generation.posecontrol.pose_code import angles_of_code, encoded_pose, rotation_of_code
from recognition.errors import InputError
from tests.generation.posecontrol.small_model import poses, small


def test_image_losses():
    made, target = torch.tensor([[[[0.0, 1.0]]]]), torch.tensor([[[[0.5, -1.0]]]])
    mse, l1 = (0.25 + 4) / 2, (0.5 + 2) / 2
    assert image_loss(made, target, "mse").item() == pytest.approx(mse)
    assert image_loss(made, target, "l1").item() == pytest.approx(l1)
    assert image_loss(made, target, "combined").item() == pytest.approx(mse + l1)
    assert image_loss(made, target, "combined", l1_weight=0.2).item() == pytest.approx(mse + 0.2 * l1)


@pytest.mark.parametrize("pose_dim", [3, 6])
def test_the_geodesic_loss_is_the_angle_between_the_rotations(pose_dim):
    given, wanted = poses(5, seed=1), poses(5, seed=2)
    turns = [Rotation.from_euler("xyz", each.numpy(), degrees=True) for each in (given, wanted)]
    angles = (turns[0].inv() * turns[1]).magnitude()
    assert pose_loss(encoded_pose(given, pose_dim), wanted, "geodesic").item() == pytest.approx(angles.mean(), rel=1e-4)


def test_mse_of_angles_is_in_radians():
    given = torch.tensor([[90.0, 0.0, 0.0]])
    assert pose_loss(torch.zeros(1, 3), given, "mse").item() == pytest.approx((math.pi / 2) ** 2 / 3, rel=1e-6)


@pytest.mark.parametrize("pose_dim", [3, 6])
def test_a_pose_comes_back_from_its_code(pose_dim):
    assert torch.allclose(angles_of_code(encoded_pose(poses(20), pose_dim)), poses(20), atol=1e-2)


def test_any_six_numbers_are_a_rotation():
    turn = rotation_of_code(torch.randn(10, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64))
    assert torch.allclose(turn @ turn.mT, torch.eye(3, dtype=torch.float64).expand(10, 3, 3), atol=1e-12)
    assert torch.allclose(torch.linalg.det(turn), torch.ones(10, dtype=torch.float64))


@pytest.mark.parametrize("kind", ["mse", "geodesic"])
def test_gradients_are_finite_where_the_pose_is_right_or_opposite(kind):
    for wanted in ([0.0, 0.0, 0.0], [0.0, 180.0, 0.0]):
        code = torch.zeros(1, 3, requires_grad=True)
        pose_loss(code, torch.tensor([wanted]), kind).backward()
        assert torch.isfinite(code.grad).all()


def test_the_pose_head_does_not_learn_from_the_picture():
    """It is told what the pose is; what would suit the generator must not bend it."""
    model = small()
    for layer in (*model.control.leave, *model.control.point):
        torch.nn.init.normal_(layer.weight, std=0.1)
    model(torch.rand(2, 3, 32, 32), poses(2)).image_BCHW.square().mean().backward()
    assert all(parameter.grad is None for parameter in model.pose_head.parameters())


def test_another_pose_dim():
    with pytest.raises(InputError, match="pose_dim=9"):
        small(pose_dim=9)
