"""Pictures resampled: resize, lowres, crop and blur.

Each of these weighs rows and columns apart: a picture X becomes R X C^T, with a matrix R for the rows and C for the
columns that every picture has for itself. Two batched products do it for pictures of as many sizes as there are.

Shapes: N pictures, I pixels of a side in, O pixels of a side out. Pictures are float32 NCHW, square, and hold whole
numbers in [0, 255], before and after.
"""

from __future__ import annotations

import torch

from recognition.data.augment.draws import Draws

# Weights are multiples of 2^-11 that add up to 1, which float32 and even the factors of TF32 hold exactly. A weight is
# off by less than 2^-11, an eighth of a grey level.
WEIGHT_BITS = 11
# Before they are made to add up to 1, weights are whole numbers of this size, so that their sums are exact too.
_FINE = 1 << 20


def resize(images_NCHW: torch.Tensor, draws: Draws, *, scale: tuple[float, float]) -> torch.Tensor:
    """Down to `scale` times the size and back, both bilinear, the way down with antialiasing."""
    size = images_NCHW.shape[2]
    side_N = _whole_side(draws.between(*scale) * size, size, images_NCHW.device)
    most = max(1, round(scale[1] * size))
    down_NOI = bilinear_weights(0, size / side_N, rows=most, columns=size)
    return _enlarged(resampled(images_NCHW, down_NOI, down_NOI), side_N, size)


def lowres(images_NCHW: torch.Tensor, draws: Draws, *, factor: tuple[float, float]) -> torch.Tensor:
    """As from a camera with 1 / `factor` as many pixels on a side: the means of areas, bilinear in between."""
    size = images_NCHW.shape[2]
    side_N = _whole_side(size / draws.between(*factor), size, images_NCHW.device)
    most = max(1, round(size / factor[0]))
    down_NOI = area_weights(size / side_N, rows=most, columns=size)
    return _enlarged(resampled(images_NCHW, down_NOI, down_NOI), side_N, size)


def crop(images_NCHW: torch.Tensor, draws: Draws, *, scale: tuple[float, float]) -> torch.Tensor:
    """A window of `scale` times the size, anywhere in the picture, brought back to its size, bilinear."""
    size, device = images_NCHW.shape[2], images_NCHW.device
    side_N = draws.between(*scale) * size
    top_N, left_N = (draws.between(0, 1) * (size - side_N) for _ in range(2))
    step_N = (side_N / size).to(device, non_blocking=True)
    rows_NOI, columns_NOI = (
        bilinear_weights(start_N.to(device, non_blocking=True), step_N, rows=size, columns=size)
        for start_N in (top_N, left_N)
    )
    return resampled(images_NCHW, rows_NOI, columns_NOI)


def blur(images_NCHW: torch.Tensor, draws: Draws, *, sigma: tuple[float, float]) -> torch.Tensor:
    """A Gaussian of `sigma` pixels, cut off at three of the largest sigma; the picture goes on mirrored at its edge."""
    size, device = images_NCHW.shape[2], images_NCHW.device
    radius = min(size - 1, -int(-3 * sigma[1] // 1))
    taps_NK = gaussian_taps(draws.between(*sigma), radius).to(device, non_blocking=True)
    weights_NOI = mirrored_weights(taps_NK, size)
    return resampled(images_NCHW, weights_NOI, weights_NOI)


def resampled(images_NCHW: torch.Tensor, rows_NOI: torch.Tensor, columns_NOI: torch.Tensor) -> torch.Tensor:
    """The pictures with O rows and O columns instead of I; rounded to whole numbers after each of the two."""
    images_NCHO = (images_NCHW.flatten(1, 2) @ columns_NOI.transpose(1, 2)).add_(0.5).floor_()
    images_NCHO = images_NCHO.unflatten(1, images_NCHW.shape[1:3])
    return (rows_NOI[:, None] @ images_NCHO).add_(0.5).floor_()


def bilinear_weights(
    start_N: torch.Tensor | float,
    step_N: torch.Tensor,
    *,
    rows: int,
    columns: int,
    size_N: torch.Tensor | None = None,
) -> torch.Tensor:
    """Weights (N, rows, columns) of a triangle about each of `rows` points that begin at `start` and lie `step` apart.

    Pixels of the input are 1 apart, the triangle reaches as far as one pixel of the coarser of the two sides: Pillow's
    BILINEAR. Input pixels from `size` on (default: none) do not count; rows that see none are all 0.
    """
    step_N11 = step_N[:, None, None]
    start_N11 = start_N[:, None, None] if isinstance(start_N, torch.Tensor) else start_N
    centre_NO1 = start_N11 + (_axis(rows, step_N.device)[:, None] + 0.5) * step_N11
    place_I = _axis(columns, step_N.device)
    weights_NOI = (1 - (place_I + 0.5 - centre_NO1).abs_().div_(step_N11.clamp(min=1))).clamp_(min=0)
    if size_N is not None:
        weights_NOI.mul_(place_I < size_N[:, None, None])
    return _summing_to_one(weights_NOI)


def area_weights(step_N: torch.Tensor, *, rows: int, columns: int) -> torch.Tensor:
    """Weights (N, rows, columns) by how much of each input pixel lies in [row * step, (row + 1) * step)."""
    step_N11 = step_N[:, None, None]
    row_O1, place_I = _axis(rows, step_N.device)[:, None], _axis(columns, step_N.device)
    stop = torch.minimum((row_O1 + 1) * step_N11, place_I + 1)
    return _summing_to_one((stop - torch.maximum(row_O1 * step_N11, place_I)).clamp_(min=0))


def gaussian_taps(sigma_N: torch.Tensor, radius: int) -> torch.Tensor:
    """Weights (N, radius + 1) of the centre and of one side of a Gaussian whose two sides and centre add up to 1."""
    taps_NK = torch.exp(-0.5 * (_axis(radius + 1, sigma_N.device) / sigma_N[:, None]) ** 2)
    total_N1 = 2 * taps_NK.sum(1, keepdim=True) - 1
    whole_NK = (taps_NK / total_N1 * 2**WEIGHT_BITS).round_()
    # The centre, the largest, takes what rounding left over.
    whole_NK[:, 0] = 2**WEIGHT_BITS - 2 * whole_NK[:, 1:].sum(1)
    return whole_NK.mul_(2.0**-WEIGHT_BITS).float()


def mirrored_weights(taps_NK: torch.Tensor, size: int) -> torch.Tensor:
    """Taps as matrices (N, size, size), for pictures that go on as ... c b a b c ... beyond their edge pixel a."""
    taps_NK = torch.nn.functional.pad(taps_NK, (0, 1))  # what lies further away weighs nothing
    row_O1 = torch.arange(size, device=taps_NK.device)[:, None]
    place_I = row_O1[:, 0]
    last = size - 1
    beyond = taps_NK.shape[1] - 1

    def weights(distance_OI: torch.Tensor) -> torch.Tensor:
        return taps_NK[:, distance_OI.clamp_(max=beyond)]

    mirrored_NOI = weights((row_O1 - place_I).abs_())
    # The edge pixel itself has no image behind the edge.
    mirrored_NOI += weights(row_O1 + place_I) * (place_I > 0)
    return mirrored_NOI.add_(weights(2 * last - row_O1 - place_I) * (place_I < last))


def _enlarged(images_NCHW: torch.Tensor, side_N: torch.Tensor, size: int) -> torch.Tensor:
    """Pictures of `side` pixels in the upper left corner of `images` brought to `size` pixels, bilinear."""
    most = images_NCHW.shape[2]
    up_NOI = bilinear_weights(0, side_N / size, rows=size, columns=most, size_N=side_N)
    return resampled(images_NCHW, up_NOI, up_NOI)


def _whole_side(side_N: torch.Tensor, size: int, device: torch.device) -> torch.Tensor:
    return side_N.round().clamp(1, size).to(device, non_blocking=True)


def _axis(count: int, device: torch.device) -> torch.Tensor:
    return torch.arange(count, dtype=torch.float64, device=device)


def _summing_to_one(weights_NOI: torch.Tensor) -> torch.Tensor:
    """Weights >= 0 (float64) as multiples of 2^-11 that add up to exactly 1 in each row, float32; rows of 0 stay 0."""
    # Rounding the sums so far, not each weight, makes the whole exact; the sums are of whole numbers, so exact too.
    sums_NOI = weights_NOI.mul_(_FINE).round_().long().cumsum(2).double()
    whole_NOI = sums_NOI.div_(sums_NOI[:, :, -1:].clamp(min=1)).mul_(2**WEIGHT_BITS).round_()
    whole_NOI[:, :, 1:] = whole_NOI.diff(dim=2)
    return whole_NOI.mul_(2.0**-WEIGHT_BITS).float()
