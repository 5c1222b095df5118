"""Five points of a face -> the 112x112 crop that recognisers are trained on, as InsightFace's norm_crop makes it."""

from __future__ import annotations

import numpy as np

from recognition.errors import InputError

SIZE = 112
# Where ArcFace's training sets have the eyes, the nose and the mouth corners (x, y), in a crop of 112x112.
TEMPLATE_52 = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]], np.float64
)


def template_points(size: int = SIZE) -> np.ndarray:
    """The template in a crop of `size` pixels square, float64 (5, 2), as norm_crop scales it to multiples of 112."""
    return TEMPLATE_52 * (size / SIZE)


def similarity(source_N2: np.ndarray, target_N2: np.ndarray) -> np.ndarray:
    """The rotation, scale and shift (no mirror) that brings `source` nearest to `target`: float64 (2, 3), x' = M [x 1].

    Nearest in the sum of squares, Umeyama, "Least-squares estimation of transformation parameters between two point
    patterns", PAMI 1991, eq. 40-43. A plane rotation with scale is one complex factor, so no SVD is needed: with both
    sets centred, a = sum(conj(s) t) / sum |s|^2. InputError when all source points are one, which has no solution.
    """
    source_N, target_N = (points.astype(np.float64) @ (1, 1j) for points in (source_N2, target_N2))
    source_mean, target_mean = source_N.mean(), target_N.mean()
    source_N, target_N = source_N - source_mean, target_N - target_mean
    spread = (np.abs(source_N) ** 2).sum()
    factor = (source_N.conj() * target_N).sum() / spread if spread > 0 else 0
    if not (np.isfinite(factor) and factor):
        raise InputError(f"the face's points {np.round(source_N2, 1).tolist()} lie on one spot or at random: no pose")
    shift = target_mean - factor * source_mean
    return np.array([[factor.real, -factor.imag, shift.real], [factor.imag, factor.real, shift.imag]])


def align(pixels_HWC: np.ndarray, points_52: np.ndarray, *, size: int = SIZE, antialias: bool = True) -> np.ndarray:
    """The face with these points, uint8 (size, size, 3); black where the picture ends.

    Sampled bilinearly, which equals norm_crop. Where the picture is at least twice as fine as the crop, bilinear
    sampling skips pixels and fine texture turns into noise: `antialias` then first averages blocks of
    floor(1 / scale) pixels square. False: norm_crop to the last.
    """
    matrix_23 = similarity(points_52, template_points(size))
    return (cut if antialias else warp)(pixels_HWC, matrix_23, size)


def cut(pixels_HWC: np.ndarray, matrix_23: np.ndarray, size: int) -> np.ndarray:
    """`warp`, uint8 (size, size, C), but of means of blocks of pixels where the picture is at least twice as fine."""
    block = int(1 / float(np.hypot(matrix_23[0, 0], matrix_23[1, 0])))
    if block >= 2:
        pixels_HWC, matrix_23 = averaged(pixels_HWC, matrix_23, block=block, size=size)
    return warp(pixels_HWC, matrix_23, size)


def warp(pixels_HWC: np.ndarray, matrix_23: np.ndarray, size: int) -> np.ndarray:
    """Bilinear samples of a uint8 or float picture (H, W, C) where `matrix_23` maps it to a crop of `size` square.

    As cv2.warpAffine(pixels, matrix, (size, size), borderValue=0), but without its rounding of places to 1/32 pixel.
    """
    height, width = pixels_HWC.shape[:2]
    grid = np.arange(size, dtype=np.float64)
    x_SS, y_SS = (row[2] + row[0] * grid[None, :] + row[1] * grid[:, None] for row in _inverse(matrix_23))
    left_SS, top_SS = np.floor(x_SS), np.floor(y_SS)
    right_share_SS1, low_share_SS1 = (x_SS - left_SS)[..., None], (y_SS - top_SS)[..., None]
    left_SS, top_SS = left_SS.astype(np.int64), top_SS.astype(np.int64)
    crop_SSC = np.zeros((size, size, pixels_HWC.shape[2]))
    for x_step in (0, 1):
        for y_step in (0, 1):
            column_SS, row_SS = left_SS + x_step, top_SS + y_step
            inside_SS = (column_SS >= 0) & (column_SS < width) & (row_SS >= 0) & (row_SS < height)
            share_SS1 = np.abs(1 - x_step - right_share_SS1) * np.abs(1 - y_step - low_share_SS1)
            picked_SSC = pixels_HWC[row_SS.clip(0, height - 1), column_SS.clip(0, width - 1)]
            crop_SSC += picked_SSC * (share_SS1 * inside_SS[..., None])
    return np.rint(crop_SSC).clip(0, 255).astype(np.uint8)


def averaged(pixels_HWC: np.ndarray, matrix_23: np.ndarray, *, block: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """The part of a picture that a crop shows, in means of blocks of pixels, float32, and the matrix from there on.

    Blocks are counted from the picture's first pixel; what is missing in the last ones is black.
    """
    corners_42 = np.array([[0, 0], [size, 0], [0, size], [size, size]]) - 0.5
    linear_22, shift_2 = (inverse := _inverse(matrix_23))[:, :2], inverse[:, 2]
    reach_42 = corners_42 @ linear_22.T + shift_2
    # In blocks, and one more on each side: bilinear sampling looks half a block beyond the crop's edge.
    last_2 = (np.array(pixels_HWC.shape[1::-1]) - 1) // block
    x1, y1 = (np.floor(reach_42.min(0) / block).astype(np.int64) - 1).clip(0, last_2) * block
    x2, y2 = (np.floor(reach_42.max(0) / block).astype(np.int64) + 2).clip(1, last_2 + 1) * block
    part_HWC = pixels_HWC[y1 : max(y2, y1 + 1), x1 : max(x2, x1 + 1)]
    padding = [(0, -side % block) for side in part_HWC.shape[:2]]
    part_HWC = np.pad(part_HWC, [*padding, (0, 0)])
    rows, columns = (side // block for side in part_HWC.shape[:2])
    blocks_HWC = part_HWC.reshape(rows, block, columns, block, -1).mean((1, 3), dtype=np.float32)
    # A block's centre u lies at block * u + (block - 1) / 2 + (x1, y1) in the picture.
    moved_23 = matrix_23.copy()
    moved_23[:, :2] *= block
    moved_23[:, 2] += matrix_23[:, :2] @ (np.array([x1, y1]) + (block - 1) / 2)
    return blocks_HWC, moved_23


def _inverse(matrix_23: np.ndarray) -> np.ndarray:
    """From crop to picture, (2, 3)."""
    return np.linalg.inv(np.vstack([matrix_23, [0, 0, 1]]))[:2]
