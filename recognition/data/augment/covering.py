"""Pictures partly covered: erase and mask. They are float32 NCHW, square, and hold whole numbers, before and after."""

from __future__ import annotations

import math

import torch

from recognition.data.augment.draws import Draws

# Corners (x, y) of a mask on a face aligned to ArcFace's template, whose eyes, nose and mouth lie at y = 52, 72 and 92
# of 112 pixels: from the bridge of the nose by one cheek round the chin to the other.
TEMPLATE_PIXELS = 112
MASK_CORNERS = (
    *((56, 58), (76, 61), (95, 70), (95, 84), (89, 98), (78, 109), (65, 115)),
    *((47, 115), (34, 109), (23, 98), (17, 84), (17, 70), (36, 61)),
)
# How far each corner, and all of them together, may lie from there.
CORNER_PIXELS, SHIFT_PIXELS = 1.5, 3.0
# Half of the rectangles of `erase` are wider than high; none is more than twice as long as the other way.
LONGEST = 2.0
_COVER = 1 << 8


def erase(images_NCHW: torch.Tensor, draws: Draws, *, area: tuple[float, float]) -> torch.Tensor:
    """Noise in a rectangle of `area` times the picture (Zhong et al. 2020, "Random erasing", RE-R)."""
    size = images_NCHW.shape[2]
    side_N = draws.between(*area).sqrt_() * size
    longer_N = torch.exp(0.5 * draws.between(-math.log(LONGEST), math.log(LONGEST)))
    rows_N, columns_N = (side.round().clamp(1, size) for side in (side_N * longer_N, side_N / longer_N))
    inside = []
    for length_N in (rows_N, columns_N):
        start_N = (draws.between(0, 1) * (size - length_N + 1)).floor()
        inside.append(_between(start_N, start_N + length_N, size, images_NCHW.device))
    inside_N1HW = inside[0][:, None, :, None] & inside[1][:, None, None, :]
    noise_NCHW = draws.noise(images_NCHW[0].numel(), images_NCHW.device).reshape(images_NCHW.shape)
    return torch.where(inside_N1HW, noise_NCHW, images_NCHW)


def mask(images_NCHW: torch.Tensor, draws: Draws) -> torch.Tensor:
    """A face mask of one colour over nose, mouth and chin (Anwar and Raychowdhury 2020, arXiv:2008.11104).

    For faces aligned to ArcFace's template; elsewhere it covers the same place of the picture.
    """
    size, device = images_NCHW.shape[2], images_NCHW.device
    shift_N1 = torch.stack([draws.between(-SHIFT_PIXELS, SHIFT_PIXELS) for _ in range(2)], 1)[:, None]
    jitter = [draws.between(-CORNER_PIXELS, CORNER_PIXELS) for _ in range(2 * len(MASK_CORNERS))]
    corners_NK2 = torch.stack(jitter, 1).unflatten(1, (-1, 2)) + shift_N1
    corners_NK2 += torch.tensor(MASK_CORNERS, dtype=torch.float64)
    cover_N1HW = polygon_cover((corners_NK2 * (size / TEMPLATE_PIXELS)).to(device, non_blocking=True), size)[:, None]
    colour_N3 = torch.stack([draws.between(0, 256).floor() for _ in range(3)], 1).float()
    colour_N311 = colour_N3.to(device, non_blocking=True)[:, :, None, None]
    # Cover is a multiple of 2^-8, so that each product is exact.
    return (images_NCHW + cover_N1HW * (colour_N311 - images_NCHW)).add_(0.5).floor_()


def polygon_cover(corners_NK2: torch.Tensor, size: int) -> torch.Tensor:
    """How much of each pixel a convex polygon covers, about: float32 (N, size, size), multiples of 2^-8 in [0, 1].

    Corners (x, y), clockwise on the screen, in pixels from the upper left corner of the picture. The edge of the
    polygon is one pixel wide; what bends inwards between three corners is cut off.
    """
    edge_NK2 = corners_NK2.roll(-1, 1) - corners_NK2
    edge_NK2 = edge_NK2 / edge_NK2.square().sum(2, keepdim=True).sqrt()
    middle_S = torch.arange(size, dtype=torch.float64, device=corners_NK2.device) + 0.5
    cover_NHW = torch.ones(len(corners_NK2), size, size, dtype=torch.float64, device=corners_NK2.device)
    for (x_N, y_N), (dx_N, dy_N) in zip(corners_NK2.permute(1, 2, 0), edge_NK2.permute(1, 2, 0)):
        # Distance from the edge to the right of it, which is inside: the part of y and the part of x.
        down_NH = dx_N[:, None] * (middle_S - y_N[:, None])
        across_NW = dy_N[:, None] * (middle_S - x_N[:, None])
        torch.minimum(cover_NHW, down_NH[:, :, None] - across_NW[:, None, :] + 0.5, out=cover_NHW)
    return cover_NHW.clamp_(0, 1).mul_(_COVER).round_().div_(_COVER).float()


def _between(start_N: torch.Tensor, stop_N: torch.Tensor, size: int, device: torch.device) -> torch.Tensor:
    """Which of `size` places lie in [start, stop), bool (N, size) on the device."""
    place_S = torch.arange(size, device=device)
    start_N1, stop_N1 = (bound_N.to(device, non_blocking=True)[:, None] for bound_N in (start_N, stop_N))
    return (place_S >= start_N1) & (place_S < stop_N1)
