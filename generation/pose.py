"""Poses of heads as angles and as rotations, and from five points of a face; batched, in torch.

The convention is that of recognition/heads/rotation.py, InsightFace's: x to the picture's right, y down, z towards the
viewer, R = Rz(roll) Ry(yaw) Rx(pitch), points of the head turn as R p. A pose is (pitch, yaw, roll) in degrees.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

# Eyes, nose tip and mouth corners of a frontal face, round their mean, in decimetres: the mean of 400 drawn people
# (recognition/heads). The frame is that of this module.
STANDARD_53 = torch.tensor(
    [
        [-0.315, -0.355, -0.093],
        [0.315, -0.355, -0.093],
        [0.0, 0.061, 0.255],
        [-0.249, 0.325, -0.035],
        [0.249, 0.325, -0.035],
    ],
    dtype=torch.float64,
)
_LOCKED = 1e-6  # cosine of the yaw below which only the difference of pitch and roll is known


def rotation_matrices(pose_B3_deg: Tensor) -> Tensor:
    """The rotations (B, 3, 3) of poses (B, 3), differentiable."""
    angles_B3 = pose_B3_deg * (math.pi / 180)
    (sin_x, sin_y, sin_z), (cos_x, cos_y, cos_z) = angles_B3.sin().unbind(1), angles_B3.cos().unbind(1)
    rows = (
        *(cos_z * cos_y, cos_z * sin_y * sin_x - sin_z * cos_x, cos_z * sin_y * cos_x + sin_z * sin_x),
        *(sin_z * cos_y, sin_z * sin_y * sin_x + cos_z * cos_x, sin_z * sin_y * cos_x - cos_z * sin_x),
        *(-sin_y, cos_y * sin_x, cos_y * cos_x),
    )
    return torch.stack(rows, 1).view(-1, 3, 3)


def pose_angles(rotation_B33: Tensor) -> Tensor:
    """The poses (B, 3) of rotations; at a yaw of +-90 degrees the roll is called 0."""
    turn = rotation_B33
    level_B = torch.hypot(turn[:, 0, 0], turn[:, 1, 0])
    free_B = level_B > _LOCKED
    pitch_B = torch.where(free_B, torch.atan2(turn[:, 2, 1], turn[:, 2, 2]), torch.atan2(-turn[:, 1, 2], turn[:, 1, 1]))
    roll_B = torch.where(free_B, torch.atan2(turn[:, 1, 0], turn[:, 0, 0]), 0.0)
    return torch.stack([pitch_B, torch.atan2(-turn[:, 2, 0], level_B), roll_B], 1) * (180 / math.pi)


def geodesic_deg(a_B33: Tensor, b_B33: Tensor) -> Tensor:
    """The angle (B,) in degrees of the rotation that brings one to the other, 0 to 180, exact at both ends.

    |a - b| = 2 sqrt(2) sin(angle / 2) and, for rotations, |a + b|^2 = 4 + 8 cos(angle / 2)^2.
    """
    sine_B = (a_B33 - b_B33).square().sum((-2, -1)).sqrt() / math.sqrt(8)
    cosine_B = (((a_B33 + b_B33).square().sum((-2, -1)) - 4).clamp_min(0) / 8).sqrt()
    return 2 * torch.atan2(sine_B, cosine_B) * (180 / math.pi)


def kabsch(source_BN3: Tensor, target_BN3: Tensor) -> Tensor:
    """The rotations (B, 3, 3), no mirror, that bring each source nearest to its target; places and sizes do not count.

    Nearest in the sum of squares: Kabsch, Acta Cryst. A32 (1976) 922.
    """
    source_BN3, target_BN3 = (x - x.mean(1, keepdim=True) for x in (source_BN3.double(), target_BN3.double()))
    left, _, right = torch.linalg.svd(target_BN3.mT @ source_BN3)
    mirror = torch.ones_like(left[:, 0])
    mirror[:, 2] = torch.linalg.det(left @ right).sign()
    return left * mirror[:, None] @ right


def pose_from_points3(points_BN3: Tensor, standard_N3: Tensor = STANDARD_53) -> Tensor:
    """The poses (B, 3) of points whose places in space are known, against those of a frontal face; float64."""
    return pose_angles(kabsch(standard_N3.double().expand(len(points_BN3), -1, -1), points_BN3))


def pose_from_points2(points_BN2: Tensor, standard_N3: Tensor = STANDARD_53) -> Tensor:
    """The poses (B, 3) of points in pictures, seen from afar (scaled orthographic); float64.

    The rotation nearest to the affine camera of least squares. That of least squares among rotations, which takes
    turns of guessing depths and turning, is no nearer to the truth: what errs is that each face is another one.
    """
    seen_BN2 = points_BN2.double() - points_BN2.double().mean(1, keepdim=True)
    solid_N3 = standard_N3.double() - standard_N3.double().mean(0)
    # seen = solid A^T: two rows of a rotation, times a scale, were the points exact and the face this one.
    fit_B23 = (torch.linalg.pinv(solid_N3) @ seen_BN2).mT
    left, _, right = torch.linalg.svd(fit_B23, full_matrices=False)
    rows_B23 = left @ right
    return pose_angles(torch.cat([rows_B23, torch.linalg.cross(rows_B23[:, :1], rows_B23[:, 1:])], 1))


def rolled(pose_B3_deg: Tensor, turn_B_deg: Tensor) -> Tensor:
    """The poses in pictures that were turned clockwise by these angles (B,): roll alone changes, to -180 to 180."""
    pitch_B, yaw_B, roll_B = pose_B3_deg.unbind(1)
    return torch.stack([pitch_B, yaw_B, (roll_B + turn_B_deg + 180) % 360 - 180], 1)


def mirrored_pose(pose_B3_deg: Tensor) -> Tensor:
    """The poses in the mirrored pictures (left becomes right)."""
    return pose_B3_deg * pose_B3_deg.new_tensor([1, -1, -1])
