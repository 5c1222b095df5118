"""What training pulls towards: the target picture, the pose of the source, and the identity of the face."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from generation.pose import rotation_matrices
from generation.posecontrol.pose_code import encoded_pose, rotation_of_code

MSE, L1, COMBINED = "mse", "l1", "combined"
GEODESIC = "geodesic"
LOSS_TYPES, POSE_LOSSES = (MSE, L1, COMBINED), (MSE, GEODESIC)
_NEAR = 1e-7


def image_loss(made_BCHW: Tensor, target_BCHW: Tensor, loss_type: str, *, l1_weight: float = 1.0) -> Tensor:
    """Mean over all numbers of two pictures in [-1, 1]: squared or absolute difference, or mse + l1_weight * l1."""
    if loss_type == MSE:
        return F.mse_loss(made_BCHW, target_BCHW)
    if loss_type == L1:
        return F.l1_loss(made_BCHW, target_BCHW)
    return F.mse_loss(made_BCHW, target_BCHW) + l1_weight * F.l1_loss(made_BCHW, target_BCHW)


def pose_loss(code_BP: Tensor, pose_B3_deg: Tensor, kind: str) -> Tensor:
    """Of what the pose head gives, against (pitch, yaw, roll) in degrees.

    "mse": of the numbers as `encoded_pose` has them; "geodesic": the mean angle in radians between the rotations, as in
    6DRepNet (Hempel et al., arXiv:2202.12555, eq. 7).
    """
    code_BP = code_BP.float()
    if kind == MSE:
        return F.mse_loss(code_BP, encoded_pose(pose_B3_deg, code_BP.shape[1]))
    # |A - B| = 2 sqrt(2) sin(angle / 2): unlike arccos of the trace, it has a gradient near 0.
    apart_B = (rotation_of_code(code_BP) - rotation_matrices(pose_B3_deg)).square().sum((1, 2))
    sine_B = (apart_B / 8).clamp(_NEAR, 1 - _NEAR).sqrt()
    return (2 * torch.asin(sine_B)).mean()
