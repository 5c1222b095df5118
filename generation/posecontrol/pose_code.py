"""A pose as the numbers that networks take and give: three angles, or two columns of the rotation matrix."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from generation.pose import pose_angles, rotation_matrices
from recognition.errors import InputError

ANGLES, COLUMNS = 3, 6


def require_pose_dim(pose_dim: int) -> None:
    """InputError for another number than the two that stand for a pose."""
    if pose_dim not in (ANGLES, COLUMNS):
        raise InputError(f"pose_dim={pose_dim}: use 3 (pitch, yaw, roll) or 6 (two columns of the rotation matrix)")


def encoded_pose(pose_B3_deg: Tensor, pose_dim: int) -> Tensor:
    """(B, pose_dim) of (pitch, yaw, roll) in degrees: the angles in radians, or columns 1 and 2 of the rotation."""
    if pose_dim == ANGLES:
        return pose_B3_deg.float() * (math.pi / 180)
    return rotation_matrices(pose_B3_deg)[:, :, :2].mT.flatten(1).float()


def rotation_of_code(code_BP: Tensor) -> Tensor:
    """Rotation matrices (B, 3, 3) of such numbers; six are made orthonormal first (Zhou et al., arXiv:1812.07035)."""
    if code_BP.shape[1] == ANGLES:
        return rotation_matrices(code_BP * (180 / math.pi))
    first_B3 = F.normalize(code_BP[:, :3], dim=1)
    second_B3 = code_BP[:, 3:] - (first_B3 * code_BP[:, 3:]).sum(1, keepdim=True) * first_B3
    second_B3 = F.normalize(second_B3, dim=1)
    return torch.stack([first_B3, second_B3, torch.linalg.cross(first_B3, second_B3)], 2)


def angles_of_code(code_BP: Tensor) -> Tensor:
    """(pitch, yaw, roll) in degrees (B, 3)."""
    if code_BP.shape[1] == ANGLES:
        return code_BP * (180 / math.pi)
    return pose_angles(rotation_of_code(code_BP.double())).float()
