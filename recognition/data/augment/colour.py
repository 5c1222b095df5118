"""Pictures in other colours: hsv and grey. They are float32 NCHW RGB and hold whole numbers, before and after."""

from __future__ import annotations

import math

import torch

from recognition.data.augment.draws import Draws

# Brightness and the two differences of colour of NTSC television, with the digits that DALI's hsv has.
YIQ_OF_RGB = ((0.299, 0.587, 0.114), (0.596, -0.274, -0.321), (0.211, -0.523, 0.311))
# ITU-R BT.601, over 2^16, with the digits that Pillow's "L" has.
GREY_OF_RGB = (19595, 38470, 7471)
# Factors are multiples of 2^-12: float32 adds them up exactly.
_FACTOR = 1 << 12


def hsv(
    images_NCHW: torch.Tensor,
    draws: Draws,
    *,
    hue: tuple[float, float],
    saturation: tuple[float, float],
    brightness: tuple[float, float],
) -> torch.Tensor:
    """Colours turned `hue` degrees about the greys, `saturation` times as far from them, `brightness` times as bright.

    One linear map of RGB for each picture, as DALI's hsv.
    """
    maps_N33 = colour_maps(*(draws.between(*bounds) for bounds in (hue, saturation, brightness)))
    maps_N33 = maps_N33.to(images_NCHW.device, non_blocking=True)
    # Not a matrix product: where TF32 is allowed, that would round the factors.
    red, green, blue = ((images_NCHW[:, c, None], maps_N33[:, :, c, None, None]) for c in range(3))
    mapped_NCHW = torch.mul(*red).addcmul_(*green).addcmul_(*blue)
    return mapped_NCHW.add_(0.5).floor_().clamp_(0, 255)


def colour_maps(hue_N: torch.Tensor, saturation_N: torch.Tensor, brightness_N: torch.Tensor) -> torch.Tensor:
    """Maps (N, 3, 3) float32 from RGB to RGB: from YIQ, turned in I and Q, scaled, to YIQ."""
    yiq_33 = torch.tensor(YIQ_OF_RGB, dtype=torch.float64)
    angle_N = hue_N * (math.pi / 180)
    cos_N, sin_N = saturation_N * angle_N.cos(), saturation_N * angle_N.sin()
    turn_N33 = torch.zeros(len(hue_N), 3, 3, dtype=torch.float64)
    turn_N33[:, 0, 0] = 1
    turn_N33[:, 1, 1], turn_N33[:, 1, 2] = cos_N, sin_N
    turn_N33[:, 2, 1], turn_N33[:, 2, 2] = -sin_N, cos_N
    maps_N33 = brightness_N[:, None, None] * (torch.linalg.inv(yiq_33) @ turn_N33 @ yiq_33)
    return maps_N33.mul_(_FACTOR).round_().div_(_FACTOR).float()


def grey(images_NCHW: torch.Tensor, draws: Draws) -> torch.Tensor:
    """Without colour; equal to Pillow's convert("L")."""
    red, green, blue = GREY_OF_RGB
    # At most 255 * 2^16 + 2^15: below 2^24, up to where float32 holds every whole number.
    weighed = red * images_NCHW[:, 0] + green * images_NCHW[:, 1] + blue * images_NCHW[:, 2]
    return weighed.add_(1 << 15).mul_(2.0**-16).floor_()[:, None].expand_as(images_NCHW)
