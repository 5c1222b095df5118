"""Pictures to calibrate by: spread over the set, always the same, others to check by, errors that name the picture."""

import numpy as np
import pytest
from PIL import Image

from recognition.data.sources import open_source
from recognition.errors import InputError
from recognition.export.calibration import drawn_faces, open_calibration
from recognition.provenance import data_sha256
from tests.pictures import pil_pixels, write_people


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_people(tmp_path_factory.mktemp("set") / "people", {"a": 6, "b": 9, "c": 5}, suffix=".png")


def of_folder(folder):
    """All its pictures in the order of names, by Pillow."""
    return np.stack([pil_pixels(path.read_bytes()) for path in sorted(folder.rglob("*.png"))])


@pytest.mark.parametrize("count", [1, 3, 5, 10])
def test_pictures_are_spread_over_the_set_and_those_to_check_lie_between(folder, count):
    found = open_calibration(str(folder), count=count, size=16)
    everything = of_folder(folder).reshape(20, -1)
    places, between = (
        [int(np.flatnonzero((everything == picture).all(1))[0]) for picture in pictures.reshape(len(pictures), -1)]
        for pictures in (found.images_NHWC, found.checked_NHWC)
    )
    assert (len(places), len(between)) == (count, count)
    assert not set(places) & set(between)
    assert places[0] == 0
    assert between[-1] == 19
    assert all(low < high for pair in zip(places, between) for low, high in [pair])
    steps = np.diff(places)
    assert count == 1 or steps.max() - steps.min() <= 2
    assert found.facts == {
        "set": "people",
        "data_sha256": data_sha256(open_source(str(folder), num_classes=2**31)),
        "pictures": count,
    }


def test_a_set_of_few_pictures_gives_all_of_them(folder, tmp_path):
    found = open_calibration(str(folder), count=256, size=16)
    assert (len(found.images_NHWC), len(found.checked_NHWC)) == (10, 10)
    alone = write_people(tmp_path / "alone", {"a": 1}, suffix=".png")
    found = open_calibration(str(alone), count=256, size=16)
    np.testing.assert_array_equal(found.images_NHWC, of_folder(alone))
    np.testing.assert_array_equal(found.checked_NHWC, of_folder(alone))


def test_no_more_than_64_are_checked():
    found = open_calibration("synthetic", count=100, size=32)
    assert (found.images_NHWC.shape, found.checked_NHWC.shape) == ((100, 32, 32, 3), (64, 32, 32, 3))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: path.write_bytes(b"\x89PNG nothing"), r"b/4\.png"),
        (lambda path: Image.new("RGB", (20, 16)).save(path), r"b/4\.png: the image is 20x16 pixels, 16x16 is expected"),
    ],
)
def test_a_picture_that_does_not_do_is_named(tmp_path, damage, message):
    folder = write_people(tmp_path / "people", {"a": 6, "b": 9}, suffix=".png")
    damage(folder / "b" / "4.png")
    with pytest.raises(InputError, match=message):
        open_calibration(str(folder), count=8, size=16)


@pytest.mark.parametrize("rec", ["absent", "absent.rec"])
def test_no_set_is_an_error(tmp_path, rec):
    with pytest.raises((InputError, OSError), match=rec):
        open_calibration(str(tmp_path / rec), size=16)


def test_a_set_that_does_not_say_how_many_people_it_has_will_do(tmp_path):
    (tmp_path / "faces.lst").write_text("".join(f"{n}\t{n % 2}\t{n}.png\n" for n in range(4)))
    for n in range(4):
        Image.new("RGB", (16, 16), (n, n, n)).save(tmp_path / f"{n}.png")
    assert open_calibration(str(tmp_path / "faces.lst"), count=2, size=16).images_NHWC[:, 0, 0, 0].tolist() == [0, 2]


def test_drawn_faces_are_always_the_same_and_all_differ():
    images_NHWC = drawn_faces(5, 32)
    assert (images_NHWC.shape, images_NHWC.dtype) == ((5, 32, 32, 3), np.uint8)
    np.testing.assert_array_equal(images_NHWC, drawn_faces(5, 32))
    assert len({picture.tobytes() for picture in images_NHWC}) == 5
