"""Pictures with attributes in the layouts that users bring: what is read, what is kept apart, what is wrong."""

import numpy as np
import pytest
from PIL import Image

from generation.stargan.pictures import CELEBA, TEST, TRAIN, open_pictures
from recognition.data.record_writer import RecordWriter
from recognition.errors import InputError
from tests.generation.stargan.small_gan import NAMES, labels, pixels, write_celeba


def test_celebas_layout(data):
    found = open_pictures(data, None, ("Young", "Male"), 16)
    assert len(found) == 40
    assert (found.labels_NA == labels(40)[:, ::-1]).all()
    for index in (0, 1, 39):
        assert (found.read(index) == pixels(labels(40)[index], index)).all()
    assert found.describe(1).endswith("img_align_celeba/000002.png")


def test_the_middle_square_and_a_crop_of_it(tmp_path):
    """CelebA's pictures are 178 x 218: a crop of 178 begins 20 rows from the top."""
    picture = np.random.default_rng(0).integers(0, 256, (218, 178, 3), dtype=np.uint8)
    (tmp_path / "images").mkdir()
    Image.fromarray(picture).save(tmp_path / "images" / "a.png")
    (tmp_path / "list_attr.txt").write_text("1\nMale\na.png 1\n")
    for crop, top, left in ((None, 20, 0), (178, 20, 0), (100, 59, 39)):
        side = crop or 178
        found = open_pictures(tmp_path, None, None, side, crop, test_size=0)
        assert (found.read(0) == picture[top : top + side, left : left + side]).all()
    with pytest.raises(InputError, match="a.png: 178 x 218 pixels, smaller than the crop of 300"):
        open_pictures(tmp_path, None, None, 64, 300, test_size=0).read(0)


def test_what_is_kept_apart_is_always_the_same_and_a_tenth(data):
    first, second = (open_pictures(data, None, NAMES, 16) for _ in range(2))
    assert (first.is_test_N == second.is_test_N).all()
    assert (len(first.split(TRAIN)), len(first.split(TEST))) == (36, 4)
    both = sorted(part.describe(i) for part in map(first.split, (TRAIN, TEST)) for i in range(len(part)))
    assert both == [first.describe(i) for i in range(40)]
    test = first.split(TEST)
    row = int(first.rows_N[first.is_test_N][2])
    assert (test.read(2) == pixels(labels(40)[row], row)).all()
    assert (test.labels_NA[2] == labels(40)[row]).all()


def test_celebas_own_parts(tmp_path):
    folder = write_celeba(tmp_path, 6)
    lines = [f"{index + 1:06}.png {part}\n" for index, part in enumerate("001222")]
    (folder / "list_eval_partition.txt").write_text("".join(lines))
    found = open_pictures(folder, None, NAMES, 16)
    assert found.is_test_N.tolist() == [False, False, False, True, True, True]
    (folder / "list_eval_partition.txt").write_text("".join(lines[:3]))
    with pytest.raises(InputError, match="does not name 000004.png"):
        open_pictures(folder, None, NAMES, 16)
    (folder / "list_eval_partition.txt").write_text("000001.png 5\n")
    with pytest.raises(InputError, match="line 1: '000001.png 5' is no `file part`"):
        open_pictures(folder, None, NAMES, 16)


def test_hair_of_two_colours_is_left_out_and_told(tmp_path):
    folder = write_celeba(tmp_path, 8, names=("Black_Hair", "Blond_Hair"))
    found = open_pictures(folder, None, None, 16)
    assert len(found) == 6
    assert (found.labels_NA.sum(1) <= 1).all()
    assert found.left_out == ("2 of 8 pictures, whose hair has two colours at once",)
    assert (found.read(3) == pixels(labels(8)[4], 4)).all()  # behind the first that is left out
    assert len(open_pictures(folder, None, ("Black_Hair",), 16)) == 8


def test_missing_pictures_are_an_error_unless_they_may_be(tmp_path):
    folder = write_celeba(tmp_path, 8)
    (folder / "img_align_celeba" / "000003.png").unlink()
    with pytest.raises(InputError, match=r"1 of 8 pictures of .* are not in .*img_align_celeba: 000003.png"):
        open_pictures(folder, None, NAMES, 16)
    found = open_pictures(folder, None, NAMES, 16, skip_missing=True)
    assert len(found) == 7
    assert (found.read(2) == pixels(labels(8)[3], 3)).all()
    assert "1 of 8 pictures" in found.left_out[0]


def test_a_folder_for_each_attribute(tmp_path):
    for place, name in enumerate(("angry", "happy", "sad")):
        (tmp_path / name).mkdir()
        for index in range(place + 2):
            Image.fromarray(pixels([0, 0], 10 * place + index)).save(tmp_path / name / f"{index}.png")
    (tmp_path / "sad" / "notes.txt").write_text("-")
    found = open_pictures(tmp_path, None, None, 16)
    assert found.names == ("angry", "happy", "sad")
    assert found.exclusive
    assert found.labels_NA.sum(0).tolist() == [2, 3, 4]
    assert (found.labels_NA.sum(1) == 1).all()
    assert (found.read(8) == pixels([0, 0], 23)).all()
    assert found.left_out == ("1 files that are no pictures",)


def test_record_files_with_a_label_for_each_attribute(tmp_path):
    with RecordWriter(tmp_path / "train.rec", tmp_path / "train.idx") as writer:
        for index, values in enumerate(labels(12)):
            path = tmp_path / "one.png"
            Image.fromarray(pixels(values, index)).save(path)
            writer.write(index, path.read_bytes(), [1.0 if value else -1.0 for value in values])
    with pytest.raises(InputError, match="attributes.txt is not there"):
        open_pictures(tmp_path, None, NAMES, 16)
    (tmp_path / "attributes.txt").write_text("Male Young\n")
    found = open_pictures(tmp_path, None, ("Young",), 16)
    assert found.labels_NA[:, 0].tolist() == labels(12)[:, 1].tolist()
    assert (found.read(7) == pixels(labels(12)[7], 7)).all()
    assert found.describe(7).endswith("train.rec key 7")
    (tmp_path / "attributes.txt").write_text("Male Young Smiling\n")
    with pytest.raises(InputError, match="key 0: 2 labels for the 3 names"):
        open_pictures(tmp_path, None, None, 16)


def test_what_is_no_set_is_told(tmp_path):
    with pytest.raises(InputError, match="nowhere is no folder"):
        open_pictures(tmp_path / "nowhere", None, None, 16)
    with pytest.raises(InputError, match="holds no list_attr_celeba.txt"):
        open_pictures(tmp_path, None, None, 16)
    with pytest.raises(InputError, match="holds none of list_attr_celeba.txt"):
        open_pictures(tmp_path, None, None, 16, layout=CELEBA)
    (tmp_path / "list_attr.txt").write_text("1\nMale\na.png 1\n")
    with pytest.raises(InputError, match="names a.png, which is in none of"):
        open_pictures(tmp_path, None, None, 16)


def test_a_damaged_picture_is_named(tmp_path):
    folder = write_celeba(tmp_path, 4)
    (folder / "img_align_celeba" / "000002.png").write_bytes(b"no picture")
    with pytest.raises(InputError, match="000002.png"):
        open_pictures(folder, None, NAMES, 16).read(1)


def test_the_set_is_known_again_by_its_content(data, tmp_path):
    same = write_celeba(tmp_path / "same", 40)
    other = write_celeba(tmp_path / "other", 39)
    digests = [open_pictures(folder, None, NAMES, 16).sha256 for folder in (data, same, other)]
    assert digests[0] == digests[1] != digests[2]


def test_masks_lie_beside_the_pictures_and_are_cut_alike(tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "masks").mkdir()
    draw = np.random.default_rng(0)
    picture, mask = draw.integers(0, 256, (20, 12, 3), dtype=np.uint8), draw.integers(0, 19, (20, 12), dtype=np.uint8)
    Image.fromarray(picture).save(tmp_path / "images" / "a.png")
    Image.fromarray(mask).save(tmp_path / "masks" / "a.png")
    (tmp_path / "list_attr.txt").write_text("1\nMale\na.png 1\n")
    how = {"test_size": 0, "masks": tmp_path / "masks"}
    found = open_pictures(tmp_path, None, None, 12, **how)
    assert (found.mask(0) == mask[4:16]).all()
    assert (open_pictures(tmp_path, None, None, 8, 8, **how).mask(0) == mask[6:14, 2:10]).all()
    smaller = open_pictures(tmp_path, None, None, 6, **how).mask(0)
    assert all(value in mask[4:16] for value in np.unique(smaller))
    Image.fromarray(picture).save(tmp_path / "masks" / "a.png")
    with pytest.raises(InputError, match="a.png: a picture of classes has one channel of bytes, and this is RGB"):
        open_pictures(tmp_path, None, None, 12, **how).mask(0)
    (tmp_path / "masks" / "a.png").unlink()
    with pytest.raises(InputError, match=r"images/a.png has no mask .*masks/a.png"):
        open_pictures(tmp_path, None, None, 12, **how).mask(0)
