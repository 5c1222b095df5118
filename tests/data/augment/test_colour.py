"""grey against Pillow, hsv against colorsys and against the map written out, both against DALI where it is."""

import colorsys
import math

import numpy as np
import pytest
import torch
from PIL import Image

from recognition.data.augment import ARCFACE_TORCH, parse_augment
from recognition.data.augment.colour import colour_maps
from tests.data.augment.pictures import assert_near, changed, draws, faces, noise

EVERY_CORNER = np.stack(np.meshgrid(*3 * [np.arange(0, 256, 15)], indexing="ij"), -1).astype(np.uint8).reshape(-1, 3)
PLAIN = {"hue": (0, 0), "saturation": (1, 1), "brightness": (1, 1)}


def test_grey_is_pillows():
    pictures = np.concatenate([noise(3), np.resize(EVERY_CORNER, (9, 24, 24, 3))])
    expected = np.stack([np.asarray(Image.fromarray(picture).convert("L")) for picture in pictures])
    np.testing.assert_array_equal(changed("grey", pictures), expected[..., None].repeat(3, -1))


def turned(rgb, hue, saturation, brightness):
    """One colour in 0..1 through colorsys' YIQ: I and Q turned by -hue degrees, which leads from red to yellow."""
    y, i, q = colorsys.rgb_to_yiq(*rgb)
    moved = complex(i, q) * saturation * complex(math.cos(hue * math.pi / 180), -math.sin(hue * math.pi / 180))
    rgb = colorsys.yiq_to_rgb(y, moved.real, moved.imag)
    # colorsys cuts off what lies outside before the brightness counts; the colours below do not get there.
    return [brightness * channel for channel in rgb]


@pytest.mark.parametrize("name", ["hue", "saturation", "brightness", "all"])
def test_hsv_is_a_turn_in_colorsys_yiq(name):
    bounds = {"hue": (-20, 20), "saturation": (0.7, 1.2), "brightness": (0.8, 1.2)}
    ranges = bounds if name == "all" else PLAIN | {name: bounds[name]}
    pictures = 90 + noise(12, 16) // 4
    streams = draws(12)
    numbers = zip(*(streams.between(*ranges[key]).tolist() for key in PLAIN))
    expected = [
        [[255 * np.array(turned(pixel / 255, *drawn)) for pixel in row] for row in picture]
        for picture, drawn in zip(pictures, numbers)
    ]
    # colorsys has its factors to two digits, DALI and we to three.
    assert_near(changed("hsv", pictures, **ranges), np.array(expected), most=1, mean=0.27)


def test_hue_goes_from_red_towards_yellow():
    red = np.full((1, 16, 16, 3), (200, 40, 40), np.uint8)
    pixel = changed("hsv", red, **PLAIN | {"hue": (20, 20)})[0, 0, 0].astype(int)
    hue = colorsys.rgb_to_hsv(*pixel / 255)[0] * 360
    assert 10 < hue < 30


def test_hsv_that_asks_for_nothing_changes_nothing():
    pictures = np.resize(EVERY_CORNER, (9, 24, 24, 3))
    np.testing.assert_array_equal(changed("hsv", pictures, **PLAIN), pictures)


def test_saturation_0_is_grey():
    pictures = noise(4)
    found = changed("hsv", pictures, **PLAIN | {"saturation": (0, 0)})
    assert np.ptp(found.astype(int), axis=-1).max() <= 1
    # A half is rounded up in one and down in the other.
    assert np.abs(found.astype(int) - changed("grey", pictures)).max() <= 1


def test_what_is_too_bright_is_white():
    assert (changed("hsv", np.full((1, 16, 16, 3), 200, np.uint8), **PLAIN | {"brightness": (2, 2)}) == 255).all()


def test_sums_of_colours_stay_where_float32_is_exact():
    hue_N = torch.linspace(-180, 180, 721, dtype=torch.float64)
    maps_N33 = colour_maps(hue_N, torch.full_like(hue_N, 2), torch.full_like(hue_N, 2)).double()
    assert torch.equal(maps_N33 * 4096, (maps_N33 * 4096).round())
    assert (maps_N33.abs().sum(2) * 4096 * 255).max() + 2048 < 2**24


def through_dali(pictures, change):
    pytest.importorskip("nvidia.dali", reason="DALI is not installed (the `dali` extra)")
    from nvidia.dali import Pipeline, fn, types

    pipeline = Pipeline(batch_size=len(pictures), num_threads=1, device_id=None)
    with pipeline:
        source = fn.external_source(source=lambda: list(pictures), dtype=types.UINT8, layout="HWC")
        pipeline.set_outputs(change(fn, source))
    pipeline.build()
    (output,) = pipeline.run()
    return np.stack([np.array(output.at(place)) for place in range(len(pictures))])


@pytest.mark.parametrize("hue", [-20, 0, 20, 130])
@pytest.mark.parametrize("saturation", [0, 0.7, 1.2])
def test_hsv_is_dalis(hue, saturation):
    expected = through_dali(noise(4), lambda fn, x: fn.hsv(x, hue=hue, saturation=saturation, value=0.9))
    ranges = {"hue": (hue, hue), "saturation": (saturation, saturation), "brightness": (0.9, 0.9)}
    assert_near(changed("hsv", noise(4), **ranges), expected, most=1, mean=0.02)


def test_resize_is_dalis():
    def there_and_back(fn, x):
        return fn.resize(fn.resize(x, resize_x=56, resize_y=56), resize_x=112, resize_y=112)

    expected = through_dali(faces(4), there_and_back).astype(int)
    # DALI cuts off where we round.
    assert np.abs(changed("resize", faces(4), scale=(0.5, 0.5)) - expected).max() <= 2


def test_the_blur_of_dali_aug_is_as_wide_as_there():
    pictures = faces(4)
    expected = through_dali(pictures, lambda fn, x: fn.gaussian_blur(x, window_size=3))
    (blur,) = (augmentation for augmentation in parse_augment(ARCFACE_TORCH) if augmentation.name == "blur")
    assert_near(changed("blur", pictures, **blur.ranges), expected, most=6, mean=0.3)
    for other in (0.69, 0.81):
        others = changed("blur", pictures, sigma=(other, other))
        assert np.abs(others.astype(int) - expected).mean() > 0.3
