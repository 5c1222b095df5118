"""What a picture depends on: its numbers, to the byte, on any machine; and what each of them changes."""

import dataclasses
import hashlib
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from recognition.heads import Class, Scene, aligned, draw_person, draw_scene, render
from tests.conftest import ROOT

# Of `many`, with and without AVX2: other bytes mean another set for all who train on it.
DIGEST = "c009e3ab764ce580a963a54b29eb2d188fe843178339db85e1bc1cfd2cca3ba7"
WITHOUT_VECTORS = """
from numpy._core import _multiarray_umath as umath
print(*(name for name in umath.__cpu_dispatch__ if umath.__cpu_features__[name]))
"""


def digest(*pictures):
    content = (part for picture in pictures for part in (picture.pixels_HWC.tobytes(), picture.mask_HW.tobytes()))
    return hashlib.sha256(b"".join(content)).hexdigest()


def many():
    """Pictures of a dozen people, of both kinds."""
    for number in range(6):
        yield aligned(draw_person(5, number), draw_scene(5, number), 64)
        yield render(draw_person(6, number), draw_scene(6, number), 112)


def test_bytes_are_those_of_other_machines():
    assert digest(*many()) == DIGEST


def test_bytes_are_the_same_without_the_processors_wide_instructions():
    features = subprocess.run(
        [sys.executable, "-c", WITHOUT_VECTORS], capture_output=True, text=True, check=True
    ).stdout
    run = subprocess.run(
        [sys.executable, "-c", "from tests.heads.test_picture import digest, many; print(digest(*many()))"],
        cwd=ROOT,
        env=os.environ | {"NPY_DISABLE_CPU_FEATURES": features.strip(), "ATEN_CPU_CAPABILITY": "default"},
        capture_output=True,
        text=True,
    )
    assert run.stdout == f"{DIGEST}\n", run.stderr


def test_bytes_are_the_same_in_any_order_and_thread():
    def draw(number):
        return digest(aligned(draw_person(5, number), draw_scene(5, number), 64))

    once = [draw(number) for number in range(12)]
    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(draw, range(12))) == once
    assert len(set(once)) == 12


def test_shape_and_type():
    for size in (16, 33, 160):
        picture = render(draw_person(0, 0), draw_scene(0, 0), size)
        assert (picture.pixels_HWC.shape, picture.pixels_HWC.dtype) == ((size, size, 3), np.uint8)
        assert (picture.mask_HW.shape, picture.mask_HW.dtype) == ((size, size), np.uint8)
        assert picture.pixels_HWC.flags.c_contiguous
        assert picture.pixels_HWC.std() > 10


def test_light_from_a_side_lights_that_side():
    person = draw_person(0, 0, eyeglasses=False)
    halves = []
    for x in (-1.0, 1.0):
        picture = render(person, Scene(light=(x, 0.0, 0.4)), 112)
        skin = np.isin(picture.mask_HW, (Class.SKIN, Class.NOSE))
        left, right = (picture.pixels_HWC[half][skin[half]].mean() for half in (np.s_[:, :52], np.s_[:, 60:]))
        halves.append(left - right)
    assert halves[0] > 15
    assert halves[1] < -15


def test_noise_and_blur_are_the_cameras():
    person, clear = draw_person(0, 0), Scene(backdrop=((0.6, 0.6, 0.6),))  # level 153 of 255
    still = render(person, clear, 64)
    noisy = render(person, dataclasses.replace(clear, noise_levels=4.0, noise_key=7), 64)
    difference = noisy.pixels_HWC.astype(float) - still.pixels_HWC
    background = still.mask_HW == Class.BACKGROUND
    # Rounding to whole levels adds a twelfth to the variance.
    assert difference[background].std() == pytest.approx(np.sqrt(16 + 1 / 12), rel=0.05)
    assert abs(difference[background].mean()) < 0.3
    soft = render(person, dataclasses.replace(clear, blur=1.0), 64)
    edges = [np.abs(np.diff(picture.pixels_HWC.astype(float), axis=1)).mean() for picture in (soft, still)]
    assert edges[0] < 0.9 * edges[1]
    for other in (noisy, soft):
        np.testing.assert_array_equal(other.mask_HW, still.mask_HW)
        np.testing.assert_array_equal(other.points_52, still.points_52)


def test_scenes_vary():
    scenes = [draw_scene(0, n) for n in range(200)]
    pitch, yaw, roll = np.array([scene.pose_deg for scene in scenes]).T
    assert 15 < yaw.std() < 25
    assert np.abs(yaw).max() <= 60
    assert np.abs(pitch).max() <= 28
    assert np.abs(roll).max() <= 22
    assert draw_scene(0, 5) == draw_scene(0, 5)
    assert draw_scene(0, 5) != draw_scene(0, 5, domain=1)
    assert np.abs([draw_scene(0, n, widest_yaw_deg=90).pose_deg[1] for n in range(200)]).max() > 60
