"""How good generated pictures are: PSNR, SSIM, the right pose. Pictures are img01 (B, 3, H, W)."""

from __future__ import annotations

from torch import Tensor

from generation.pose import geodesic_deg, rotation_matrices
from recognition.errors import InputError

MOST_DB = 100.0  # of pictures that are equal, whose PSNR is infinite


def psnr_db(made_BCHW: Tensor, target_BCHW: Tensor) -> Tensor:
    """Peak signal-to-noise ratio (B,) in decibels, -10 log10 of the mean squared difference; MOST_DB at most."""
    error_B = (made_BCHW - target_BCHW).double().square().mean((1, 2, 3))
    return (-10 * error_B.log10()).clamp_max(MOST_DB).float()


def ssim(made_BCHW: Tensor, target_BCHW: Tensor) -> Tensor:
    """Structural similarity (B,), 1 for equal pictures (Wang et al. 2004, eq. 13, Gaussian window of 11).

    InputError where torchmetrics is not installed.
    """
    try:
        from torchmetrics.functional.image import structural_similarity_index_measure
    except ImportError as error:
        raise InputError("SSIM needs torchmetrics: pip install -e '.[generation]'") from error
    return structural_similarity_index_measure(made_BCHW.float(), target_BCHW.float(), data_range=1.0, reduction="none")


def pose_error_deg(pose_B3_deg: Tensor, wanted_B3_deg: Tensor) -> Tensor:
    """The angle (B,) of the rotation between two poses, in degrees."""
    return geodesic_deg(*(rotation_matrices(each.double()) for each in (pose_B3_deg, wanted_B3_deg))).float()


def as_bytes(img01_BCHW: Tensor) -> Tensor:
    """Pictures as files keep them: cut to [0, 1], 256 levels."""
    return (img01_BCHW.float().nan_to_num(0).clamp(0, 1) * 255).round() / 255
