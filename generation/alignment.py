"""Faces cut out of pictures and put back, by `grid_sample`: differentiable in the picture, exact in the place.

Places are pixels, x to the right, y down; the centre of the first pixel is (0, 0), so a picture reaches from -0.5 to
W - 0.5. A matrix (2, 3) maps a place in the picture to one in the crop. S: side of a crop in pixels.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from recognition.faces.alignment import SIZE, TEMPLATE_52

MOST_SAMPLES = 8  # along each side of a crop's pixel
# Mean distance of the aligned points from the template, in pixels of a crop of 112, above which they are not aligned.
# A head turned by 45 degrees has 4 to 9, by 75 degrees 11 to 12, by 90 degrees 13 to 15; points at random have 19 in
# the median, and one in 25 times less than this.
MOST_MISFIT = 12.0


def square_boxes(boxes_B4: Tensor, margin: float = 1.2) -> Tensor:
    """Squares round the same centres, `margin` times as long as the longer side of each box (x1, y1, x2, y2)."""
    center_B2 = (boxes_B4[:, :2] + boxes_B4[:, 2:]) / 2
    half_B1 = (boxes_B4[:, 2:] - boxes_B4[:, :2]).amax(1, keepdim=True) * (margin / 2)
    return torch.cat([center_B2 - half_B1, center_B2 + half_B1], 1)


def box_matrices(boxes_B4: Tensor, size: int) -> Tensor:
    """The matrices (B, 2, 3) that bring each box to a crop of `size` pixels square, whose edges its own become."""
    boxes_B4 = boxes_B4 if boxes_B4.dtype == torch.float64 else boxes_B4.float()
    scale_B2 = size / (boxes_B4[:, 2:] - boxes_B4[:, :2])
    shift_B2 = -boxes_B4[:, :2] * scale_B2 - 0.5
    return torch.cat([torch.diag_embed(scale_B2), shift_B2[:, :, None]], 2)


def template(size: int = SIZE, *, device: torch.device | None = None) -> Tensor:
    """Where ArcFace's training sets have eyes, nose and mouth corners in a crop of `size` pixels, float32 (5, 2)."""
    return torch.tensor(TEMPLATE_52 * (size / SIZE), dtype=torch.float32, device=device)


def similarity_matrices(points_BN2: Tensor, template_N2: Tensor) -> Tensor:
    """The rotations, scales and shifts (B, 2, 3), no mirror, that bring each set of points nearest to the template.

    Nearest in the sum of squares: Umeyama, PAMI 1991, eq. 40-43; in the plane a closed form, a = sum(conj(s) t) /
    sum |s|^2 of the centred points as complex numbers. Points that are all one give NaN: see `usable_points`.
    """
    points_BN2 = points_BN2.double()
    template_N2 = template_N2.double()
    mean_B12, target_12 = points_BN2.mean(1, keepdim=True), template_N2.mean(0, keepdim=True)
    x_BN, y_BN = (points_BN2 - mean_B12).unbind(2)
    u_N, v_N = (template_N2 - target_12).unbind(1)
    spread_B = (x_BN.square() + y_BN.square()).sum(1)
    real_B = (x_BN * u_N + y_BN * v_N).sum(1) / spread_B
    imag_B = (x_BN * v_N - y_BN * u_N).sum(1) / spread_B
    linear_B22 = torch.stack([real_B, -imag_B, imag_B, real_B], 1).reshape(-1, 2, 2)
    shift_B21 = target_12[..., None] - linear_B22 @ mean_B12.mT
    return torch.cat([linear_B22, shift_B21], 2).float()


def usable_points(points_52: Tensor) -> bool:
    """Whether five points can be those of a face: finite, apart, and, once aligned, near the template."""
    points_152 = torch.as_tensor(points_52).double()[None]
    if not torch.isfinite(points_152).all() or (points_152 - points_152.mean(1, keepdim=True)).square().sum() < 1:
        return False
    aligned_52 = mapped(similarity_matrices(points_152, template()).double(), points_152)[0]
    return bool((aligned_52 - template().double()).norm(dim=1).mean() <= MOST_MISFIT)


def mapped(matrix_B23: Tensor, points_BN2: Tensor) -> Tensor:
    """Where points (B, N, 2) of pictures are in their crops."""
    return points_BN2 @ matrix_B23[:, :, :2].mT + matrix_B23[:, None, :, 2]


def crop(img_BCHW: Tensor, matrix_B23: Tensor, size: int, *, antialias: bool = True) -> Tensor:
    """Cut out crops (B, C, size, size), bilinearly, zero where pictures end; float32, or float64 as they.

    Without `antialias` it is InsightFace's norm_crop. Where a picture is k times as fine as its crop, k at least 2,
    that would look at one pixel in k * k, and let no gradient reach the others: with it k * k samples are averaged.
    """
    img_BCHW = img_BCHW if img_BCHW.dtype == torch.float64 else img_BCHW.float()
    matrix_B23 = matrix_B23.to(img_BCHW.device)
    scale_B = matrix_B23[:, :, :2].detach().double().det().abs().sqrt()
    samples_B = (1 / scale_B).floor().clamp(1, MOST_SAMPLES).int() if antialias else torch.ones_like(scale_B).int()
    counts = samples_B.unique().tolist()
    if len(counts) == 1:
        return _sampled(img_BCHW, matrix_B23, size, counts[0])
    # Each in its own resolution: what comes of a picture must not depend on the others in its batch.
    out_BCSS = img_BCHW.new_zeros(len(img_BCHW), img_BCHW.shape[1], size, size)
    for count in counts:
        rows = (samples_B == count).nonzero()[:, 0]
        out_BCSS = out_BCSS.index_copy(0, rows, _sampled(img_BCHW[rows], matrix_B23[rows], size, count))
    return out_BCSS


def uncrop(crop_BCSS: Tensor, matrix_B23: Tensor, picture_BCHW: Tensor, mask_B1SS: Tensor | None = None) -> Tensor:
    """Pictures with the crops put back where they were cut out; what lies outside of them stays, bit for bit.

    `mask_B1SS`, 0 to 1: how much of the crop is shown; None: all of it.
    """
    height, width = picture_BCHW.shape[2:]
    mask_B1SS = torch.ones_like(crop_BCSS[:, :1]) if mask_B1SS is None else mask_B1SS.to(crop_BCSS.dtype)
    at_BHW2 = _mapped_grid(matrix_B23.to(crop_BCSS.device), height, width)
    inside_B1HW = ((at_BHW2 >= -0.5) & (at_BHW2 <= crop_BCSS.shape[-1] - 0.5)).all(3)[:, None]
    grid_BHW2 = _normalised(at_BHW2, crop_BCSS.shape[-1], crop_BCSS.shape[-1], crop_BCSS.dtype)
    # Half a pixel at the edge has no neighbour outside; it is that of the edge, not darkened by nothing.
    back_BCHW, weight_B1HW = (
        F.grid_sample(each, grid_BHW2, mode="bilinear", padding_mode="border", align_corners=False)
        for each in (crop_BCSS, mask_B1SS)
    )
    weight_B1HW = torch.where(inside_B1HW, weight_B1HW, 0)
    return torch.where(weight_B1HW > 0, torch.lerp(picture_BCHW, back_BCHW, weight_B1HW), picture_BCHW)


def _sampled(img_BCHW: Tensor, matrix_B23: Tensor, size: int, count: int) -> Tensor:
    """Crops of which each pixel is the mean of count x count samples, spread evenly over it."""
    matrix_B23 = matrix_B23 if matrix_B23.dtype == torch.float64 else matrix_B23.float()
    step = torch.arange(size * count, device=img_BCHW.device, dtype=matrix_B23.dtype)
    at = (step + 0.5) / count - 0.5
    y_SS, x_SS = torch.meshgrid(at, at, indexing="ij")
    crop_1N2 = torch.stack([x_SS, y_SS], -1).reshape(1, -1, 2)
    inverse_B22 = torch.linalg.inv(matrix_B23[:, :, :2])
    picture_BN2 = (crop_1N2 - matrix_B23[:, None, :, 2]) @ inverse_B22.mT
    picture_BSS2 = picture_BN2.reshape(len(matrix_B23), size * count, size * count, 2)
    grid_BSS2 = _normalised(picture_BSS2, *img_BCHW.shape[2:], img_BCHW.dtype)
    out_BCSS = F.grid_sample(img_BCHW, grid_BSS2, mode="bilinear", padding_mode="zeros", align_corners=False)
    return out_BCSS if count == 1 else F.avg_pool2d(out_BCSS, count)


def _mapped_grid(matrix_B23: Tensor, height: int, width: int) -> Tensor:
    """Where each pixel of a picture is in its crop (B, H, W, 2)."""
    matrix_B23 = matrix_B23 if matrix_B23.dtype == torch.float64 else matrix_B23.float()
    y_H, x_W = (torch.arange(side, device=matrix_B23.device, dtype=matrix_B23.dtype) for side in (height, width))
    y_HW, x_HW = torch.meshgrid(y_H, x_W, indexing="ij")
    points_1N2 = torch.stack([x_HW, y_HW], -1).reshape(1, -1, 2)
    return mapped(matrix_B23, points_1N2.expand(len(matrix_B23), -1, -1)).reshape(-1, height, width, 2)


def _normalised(at_BHW2: Tensor, height: int, width: int, dtype: torch.dtype) -> Tensor:
    """Places in pixels as grid_sample counts them, without its corners aligned."""
    sides_2 = torch.tensor([width, height], device=at_BHW2.device, dtype=at_BHW2.dtype)
    return ((at_BHW2 * 2 + 1) / sides_2 - 1).to(dtype)
