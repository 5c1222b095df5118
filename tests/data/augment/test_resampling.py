"""resize, lowres, crop and blur against Pillow, scipy and means of areas taken by hand."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from scipy import ndimage

from recognition.data.augment.resampling import WEIGHT_BITS, area_weights, bilinear_weights, gaussian_taps
from tests.data.augment.pictures import assert_near, changed, draws, faces, noise

BILINEAR = Image.Resampling.BILINEAR


def pillow(picture, side, box=None):
    return np.asarray(Image.fromarray(picture).resize((side, side), BILINEAR, box=box))


def areas(picture, side):
    """Means over side x side equal areas, float64: every pixel is cut into side x side equal parts first."""
    size = len(picture)
    parts = np.repeat(np.repeat(picture.astype(np.float64), side, 0), side, 1)
    return parts.reshape(side, size, side, size, 3).mean((1, 3))


@pytest.mark.parametrize("pictures", [noise(9), faces(9, 40)], ids=["noise", "faces"])
@pytest.mark.parametrize("scale", [0.1, 0.37, 0.5, 0.66, 0.8, 1.0])
def test_resize_is_pillows_down_and_up(pictures, scale):
    size = pictures.shape[1]
    side = round(scale * size)
    found = changed("resize", pictures, scale=(scale, scale))
    expected = np.stack([pillow(pillow(picture, side), size) for picture in pictures])
    if scale == 1:
        np.testing.assert_array_equal(found, pictures)
    # Ours is rounded to whole numbers where Pillow's is, but its weights are multiples of 2^-11, not 2^-22.
    assert_near(found, expected, most=2, mean=0.2)


def test_each_picture_has_its_own_size():
    pictures = noise(40)
    sides = (draws(40).between(0.3, 0.9) * 24).round().int().tolist()
    assert len(set(sides)) > 10
    expected = np.stack([pillow(pillow(picture, side), 24) for picture, side in zip(pictures, sides)])
    assert_near(changed("resize", pictures, scale=(0.3, 0.9)), expected, most=2, mean=0.2)


def test_lowres_takes_the_means_of_areas_and_joins_them_bilinearly():
    pictures = noise(40)
    sides = (24 / draws(40).between(2, 8)).round().int().tolist()
    assert set(sides) == set(range(3, 13))
    small = [areas(picture, side).round().astype(np.uint8) for picture, side in zip(pictures, sides)]
    expected = np.stack([pillow(picture, 24) for picture in small])
    assert_near(changed("lowres", pictures, factor=(2, 8)), expected, most=2, mean=0.17)


@pytest.mark.parametrize("side", [1, 5, 7, 11, 24])
def test_area_weights_are_exact_shares(side):
    weights_OI = area_weights(torch.tensor([24 / side], dtype=torch.float64), rows=side, columns=24)[0]
    expected = areas(np.eye(24)[:, :, None].repeat(3, 2), side)[:, :, 0]  # of the unit matrix: products of two shares
    np.testing.assert_allclose((weights_OI @ weights_OI.T).numpy(), expected, rtol=0, atol=2 * 2.0**-WEIGHT_BITS)
    x_I = torch.rand(24, generator=torch.Generator().manual_seed(0))
    if 24 % side == 0:
        expected = F.interpolate(x_I[None, None], side, mode="area")[0, 0]
        torch.testing.assert_close(weights_OI @ x_I, expected, rtol=0, atol=2.0**-WEIGHT_BITS)


@pytest.mark.parametrize("pictures", [noise(30), faces(30, 40)], ids=["noise", "faces"])
def test_crop_is_pillows_window_enlarged(pictures):
    size = pictures.shape[1]
    streams = draws(30)
    side = (streams.between(0.6, 1) * size).numpy()
    top, left = (streams.between(0, 1).numpy() * (size - side) for _ in range(2))
    assert np.ptp(top) > 0.3 * size
    assert abs(np.corrcoef(top / (size - side), left / (size - side))[0, 1]) < 0.6
    boxes = np.stack([left, top, left + side, top + side], 1)
    expected = np.stack([pillow(picture, size, box=tuple(box)) for picture, box in zip(pictures, boxes)])
    assert_near(changed("crop", pictures, scale=(0.6, 1)), expected, most=1, mean=0.02)


def test_crop_of_everything_changes_nothing():
    np.testing.assert_array_equal(changed("crop", noise(3), scale=(1, 1)), noise(3))


def test_crop_interpolates_as_written_out():
    picture = noise(1)
    streams = draws(1)
    side = streams.between(0.5, 0.9).item() * 24
    top, left = (streams.between(0, 1).item() * (24 - side) for _ in range(2))

    def mixed(axis, start, x):
        places = np.clip(start + (np.arange(24) + 0.5) * side / 24 - 0.5, 0, 23)
        below = np.minimum(places.astype(int), 22)
        share = np.expand_dims(places - below, [d for d in range(3) if d != axis])
        return np.take(x, below, axis) * (1 - share) + np.take(x, below + 1, axis) * share

    expected = mixed(0, top, mixed(1, left, picture[0].astype(np.float64)))
    # Twice rounded to whole numbers, and weights to 2^-11.
    assert_near(changed("crop", picture, scale=(0.5, 0.9))[0], expected, most=1, mean=0.34)


@pytest.mark.parametrize("pictures", [noise(12, 40), faces(12, 40)], ids=["noise", "faces"])
@pytest.mark.parametrize("sigma", [(0.3, 0.3), (0.69, 0.69), (0.4, 1.6), (5, 5)])
def test_blur_is_scipys_gaussian(pictures, sigma):
    radius = int(np.ceil(3 * sigma[1]))
    expected = [
        ndimage.gaussian_filter(picture.astype(np.float64), s, mode="mirror", radius=radius, axes=(0, 1))
        for picture, s in zip(pictures, draws(12).between(*sigma).tolist())
    ]
    assert_near(changed("blur", pictures, sigma=sigma), np.stack(expected), most=1.1, mean=0.34)


def test_the_widest_blur_fits_the_smallest_picture():
    expected = ndimage.gaussian_filter(noise(1, 16)[0].astype(np.float64), 5, mode="mirror", radius=15, axes=(0, 1))
    assert_near(changed("blur", noise(1, 16), sigma=(5, 5))[0], expected, most=1.1, mean=0.34)


@pytest.mark.parametrize("kind", ["resize", "lowres", "crop", "blur"])
@pytest.mark.parametrize("level", [0, 1, 128, 255])
def test_a_picture_of_one_colour_keeps_it(kind, level):
    picture = np.full((6, 24, 24, 3), level, np.uint8)
    np.testing.assert_array_equal(changed(kind, picture), picture)


def test_weights_are_exact_in_float32_and_add_up_to_one():
    step_N = torch.linspace(0.3, 9, 50, dtype=torch.float64)
    taps_NK = gaussian_taps(step_N, 15)
    rows = [
        bilinear_weights(0, step_N, rows=4, columns=40),
        area_weights(step_N, rows=4, columns=40),
        torch.cat([taps_NK.flip(1), taps_NK[:, 1:]], 1)[:, None],
    ]
    for weights_NOI in rows:
        whole = weights_NOI.double() * 2**WEIGHT_BITS
        assert torch.equal(whole, whole.round())
        assert (whole.sum(2) == 2**WEIGHT_BITS).all()
        assert (whole >= 0).all()
