"""Pictures to calibrate with and to check by: sets that a run takes, folders of pictures, and what is refused."""

import numpy as np
import pytest
from PIL import Image

from generation.exporting.pictures import open_calibration_pictures
from generation.stargan.pictures import open_pictures
from recognition.errors import InputError
from tests.generation.stargan.small_gan import write_celeba


def levels(images_NHWC):
    return [int(image.mean()) for image in images_NHWC]


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "faces").mkdir()
    for level in range(10):
        Image.new("RGB", (20, 30), (level * 10,) * 3).save(tmp_path / "faces" / f"{level}.png")
    (tmp_path / "faces" / "notes.txt").write_text("mine")
    return tmp_path / "faces"


def test_a_folder_of_pictures_is_shared_out_evenly(folder):
    found = open_calibration_pictures(folder, count=3, image_size=16)
    assert found.images_NHWC.shape == (3, 16, 16, 3)
    assert levels(found.images_NHWC) == [0, 40, 70]
    assert levels(found.checked_NHWC) == [20, 50, 90]
    assert found.facts == {"set": "faces", "pictures": 3}


def test_more_than_there_are_is_all_there_are(folder):
    found = open_calibration_pictures(folder, count=100, image_size=16, most_checked=2)
    assert (len(found.images_NHWC), len(found.checked_NHWC)) == (5, 2)
    assert not set(levels(found.images_NHWC)) & set(levels(found.checked_NHWC))


def test_one_picture_is_both(folder):
    for path in sorted(folder.glob("*.png"))[1:]:
        path.unlink()
    found = open_calibration_pictures(folder, count=4, image_size=16)
    assert levels(found.images_NHWC) == levels(found.checked_NHWC) == [0]


def test_a_set_of_a_run_is_read_as_the_run_reads_it(tmp_path):
    write_celeba(tmp_path / "celeba", 12, side=24)
    found = open_calibration_pictures(tmp_path / "celeba", count=6, image_size=16, crop_size=20)
    opened = open_pictures(tmp_path / "celeba", None, None, 16, 20)
    np.testing.assert_array_equal(found.images_NHWC[0], opened.read(0))
    np.testing.assert_array_equal(found.checked_NHWC[-1], opened.read(11))
    assert found.facts == {"set": "celeba", "data_sha256": opened.sha256, "pictures": 6}


def test_what_is_refused(tmp_path, folder):
    with pytest.raises(InputError, match="absent is no folder"):
        open_calibration_pictures(tmp_path / "absent", count=3, image_size=16)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="empty holds no"):
        open_calibration_pictures(tmp_path / "empty", count=3, image_size=16)
    (folder / "5.png").write_bytes(b"no picture")
    with pytest.raises(InputError, match=r"5\.png"):
        open_calibration_pictures(folder, count=10, image_size=16)
