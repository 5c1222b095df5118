"""Folders, lists and pairs -> record sets and .bin files, checked with Pillow and plain counting as the oracles."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from recognition.data.recordio import RecordReader, RecordWriter
from recognition.data.threads import map_in_order
from recognition.errors import InputError
from recognition.records.encode import Encoder, to_jpeg
from recognition.records.listing import list_images
from recognition.records.packing import pack, pack_folder
from recognition.records.unpacking import unpack
from recognition.records.verifying import verify
from tests.pictures import encoded, pil_pixels, smooth, write_people

COUNTS = {"anna": 3, "bert": 1, "carl": 4}


def save(path: Path, image: Image.Image, **how) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **how)
    return path


@pytest.fixture
def people(tmp_path) -> Path:
    """Three identities with 3, 1 and 4 JPEGs of 16x16."""
    return write_people(tmp_path / "people", COUNTS)


def pixels(payload: bytes | memoryview) -> np.ndarray:
    return pil_pixels(payload).astype(int)


# --- pack -------------------------------------------------------------------------------------------------------------


def test_packed_folder_has_insightface_layout_and_the_files_own_bytes(people, tmp_path):
    packed = pack_folder(people, tmp_path / "out")
    assert (packed.num_images, packed.num_classes) == (8, 3)
    files = sorted(people.glob("*/*.jpg"))
    with RecordReader(tmp_path / "out" / "train.rec") as reader:
        assert reader.read(0).labels.tolist() == [9, 12]
        assert [bytes(reader.read(key).payload) for key in range(1, 9)] == [file.read_bytes() for file in files]
        assert [reader.read(key).label for key in range(1, 9)] == [0, 0, 0, 1, 2, 2, 2, 2]
        assert [reader.read(key).labels.tolist() for key in (9, 10, 11)] == [[1, 4], [4, 5], [5, 9]]
        assert reader.image_keys.tolist() == list(range(1, 9))
    assert (tmp_path / "out" / "property").read_text() == "3,16,16"
    assert (tmp_path / "out" / "identities.txt").read_text() == "anna\nbert\ncarl\n"


@pytest.mark.parametrize("suffix", ["png", "pgm", "bmp", "webp"])
def test_other_formats_become_jpeg(suffix, people, tmp_path):
    image = smooth(1).convert("L") if suffix == "pgm" else smooth(1)
    file = save(people / "anna" / f"x.{suffix}", image, **({"lossless": True} if suffix == "webp" else {}))
    pack_folder(people, tmp_path / "out")
    with RecordReader(tmp_path / "out" / "train.rec") as reader:
        got = reader.read(4).payload
        assert bytes(got[:2]) == b"\xff\xd8"
        assert np.abs(pixels(got) - pixels(file.read_bytes())).mean() < 3


@pytest.mark.parametrize(
    ("fit", "expected"),
    [
        ("pad", lambda wide: [0, 0, 0, 0, *[wide] * 8, 0, 0, 0, 0]),
        ("crop", lambda wide: [wide] * 16),
        ("stretch", lambda wide: [wide] * 16),
    ],
)
def test_fits(fit, expected):
    """A white 32x16 image becomes 16x16: with black bars above and below, or white throughout."""
    source = encoded(Image.new("RGB", (32, 16), "white"), "PNG")
    jpeg, size = to_jpeg(source, lambda: "here", image_size=16, fit=fit)
    assert size == (16, 16)
    np.testing.assert_allclose(pixels(jpeg)[:, 8, 1], expected(255), atol=3)


def test_crop_keeps_the_middle_and_stretch_keeps_all():
    image = Image.new("RGB", (48, 16), "black")
    image.paste("white", (16, 0, 32, 16))
    source = encoded(image, "PNG")
    crop, _ = to_jpeg(source, lambda: "here", image_size=16, fit="crop")
    stretched, _ = to_jpeg(source, lambda: "here", image_size=16, fit="stretch")
    assert pixels(crop).mean() > 250
    assert 70 < pixels(stretched).mean() < 100


def test_quality_is_used_and_sound_jpegs_are_never_encoded_again():
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    png, jpeg = encoded(noise, "PNG"), encoded(noise, quality=40)
    low, high = (to_jpeg(png, lambda: "here", quality=quality)[0] for quality in (30, 95))
    assert len(low) < len(high) / 2
    assert to_jpeg(jpeg, lambda: "here", image_size=64)[0] == jpeg
    assert to_jpeg(jpeg, lambda: "here", image_size=32)[0] != jpeg


def test_different_sizes_need_an_image_size(people, tmp_path):
    save(people / "carl" / "0.jpg", smooth(5, 20, 16))
    with pytest.raises(InputError, match=r"carl/0.jpg: is 20x16 pixels, .* 16x16; give --image-size"):
        pack_folder(people, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    pack_folder(people, tmp_path / "out", image_size=16)
    assert verify(tmp_path / "out" / "train.rec").sizes == {(16, 16): 8}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"just text", "unknown format"),
        (b"", "it has 0 bytes"),
        ("cut", "not a readable JPEG"),
        ("deep", "more than 8 bits per pixel"),
    ],
)
def test_bad_image_is_named_and_leaves_the_old_set(content, message, people, tmp_path):
    pack_folder(people, tmp_path / "out")
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    bad = people / "bert" / "bad.jpg"
    if content == "cut":
        content = (people / "bert" / "0.jpg").read_bytes()[:-20]
    if content == "deep":
        content = encoded(np.zeros((16, 16), np.uint16), "PNG")
    bad.write_bytes(content)
    with pytest.raises(InputError, match=rf"bert/bad.jpg: .*({message})"):
        pack_folder(people, tmp_path / "out")
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before


def test_empty_and_missing_folders(tmp_path):
    with pytest.raises(InputError, match="is not a folder"):
        pack_folder(tmp_path / "nowhere", tmp_path / "out")
    (tmp_path / "people").mkdir()
    with pytest.raises(InputError, match="people"):
        pack_folder(tmp_path / "people", tmp_path / "out")
    (tmp_path / "people" / "anna").mkdir()
    with pytest.raises(InputError, match="anna: an identity without images"):
        pack_folder(tmp_path / "people", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("wrong", [{"fit": "squeeze"}, {"quality": 0}, {"quality": 101}, {"image_size": 0}])
def test_wrong_options(wrong, people, tmp_path):
    with pytest.raises(InputError, match="squeeze|must be 1 to"):
        pack_folder(people, tmp_path / "out", **wrong)
    # None of the pictures is to blame, so that none is skipped for it.
    with pytest.raises(InputError, match="squeeze|must be 1 to"):
        Encoder(**wrong)


def test_a_list_packed_over_a_folder_takes_the_names_away(people, tmp_path):
    pack_folder(people, tmp_path / "out")
    (tmp_path / "faces.lst").write_text("0\t0\tpeople/anna/0.jpg\n")
    pack(list_images(tmp_path / "faces.lst"), tmp_path / "out", prepare=Encoder())
    assert sorted(os.listdir(tmp_path / "out")) == ["property", "train.crc", "train.idx", "train.rec"]


@pytest.mark.parametrize("style", ["im2rec", "face2rec"])
def test_lists_pack_like_folders(style, people, tmp_path):
    lines = []
    for label, name in enumerate(COUNTS):
        for file in (people / name).iterdir():
            path = file.relative_to(tmp_path)
            lines.append(f"{len(lines)}\t{label}.000000\t{path}" if style == "im2rec" else f"1\t{path}\t{label}")
    (tmp_path / "faces.lst").write_text("\n".join(np.random.default_rng(0).permutation(lines)) + "\n")
    pack(list_images(tmp_path / "faces.lst"), tmp_path / "out", prepare=Encoder())
    pack_folder(people, tmp_path / "from_folder")
    found = {}
    for out in ("out", "from_folder"):
        with RecordReader(tmp_path / out / "train.rec") as reader:
            labelled = [(reader.read(key).label, bytes(reader.read(key).payload)) for key in reader.image_keys]
            assert [label for label, _ in labelled] == [0, 0, 0, 1, 2, 2, 2, 2]
            found[out] = sorted(labelled)
            assert reader.read(0).labels.tolist() == [9, 12]
    assert found["out"] == found["from_folder"]


def test_list_with_a_gap_in_its_labels(people, tmp_path):
    (tmp_path / "faces.lst").write_text("0\t0\tpeople/anna/0.jpg\n1\t2\tpeople/carl/0.jpg\n")
    with pytest.raises(InputError, match="faces.lst: no image has label 1, though labels go up to 2"):
        pack(list_images(tmp_path / "faces.lst"), tmp_path / "out", prepare=Encoder())


def test_map_in_order_keeps_order_and_stops_at_the_first_error():
    assert list(map_in_order(lambda n: n * n, range(300))) == [n * n for n in range(300)]
    assert list(map_in_order(str, [])) == []
    begun = []

    def work(n: int) -> int:
        begun.append(n)
        return 1 // (n - 5)

    with pytest.raises(ZeroDivisionError):
        list(map_in_order(work, range(100_000)))
    assert len(begun) <= 128


# --- unpack -----------------------------------------------------------------------------------------------------------


def test_unpacking_and_packing_again_gives_the_same_set(people, tmp_path):
    pack_folder(people, tmp_path / "out")
    unpacked = unpack(tmp_path / "out" / "train.rec", tmp_path / "again")
    assert (unpacked.num_images, unpacked.num_classes) == (8, 3)
    assert sorted(os.listdir(tmp_path / "again")) == ["anna", "bert", "carl"]
    pack_folder(tmp_path / "again", tmp_path / "out2")
    for name in ("train.rec", "train.idx", "property", "identities.txt"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "out2" / name).read_bytes()


def test_unpacking_without_names_uses_sortable_labels(tmp_path):
    jpeg = to_jpeg(save(tmp_path / "a.png", smooth(0)).read_bytes(), lambda: "a")[0]
    with RecordWriter(tmp_path / "train.rec") as writer:
        for key in range(12):
            writer.write(key, jpeg, key)
    (tmp_path / "property").write_text("12,16,16")
    unpack(tmp_path / "train.rec", tmp_path / "new" / "folder")
    assert sorted(os.listdir(tmp_path / "new" / "folder")) == [f"{label:02d}" for label in range(12)]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ("anna\n../../evil\ncarl\n", "line 2 is '../../evil'"),
        ("anna\n..\ncarl\n", "line 2 is '..'"),
        ("anna\n\ncarl\n", "line 2 is ''"),
        ("anna\nanna\ncarl\n", "two identities have the same name"),
        ("anna\nbert\n", "label 2 has no line in identities.txt"),
    ],
)
def test_names_that_cannot_be_folders(names, message, people, tmp_path):
    pack_folder(people, tmp_path / "out")
    (tmp_path / "out" / "identities.txt").write_text(names)
    with pytest.raises(InputError, match=message):
        unpack(tmp_path / "out" / "train.rec", tmp_path / "again")
    assert sorted(os.listdir(tmp_path)) == ["out", "people"]


def test_unpack_never_mixes_with_what_is_there(people, tmp_path):
    pack_folder(people, tmp_path / "out")
    with pytest.raises(InputError, match="already exists"):
        unpack(tmp_path / "out" / "train.rec", people)
    (tmp_path / "empty").mkdir()
    assert unpack(tmp_path / "out" / "train.rec", tmp_path / "empty").num_images == 8
