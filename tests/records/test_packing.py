"""Folders, lists and pairs -> record sets and .bin files, checked with Pillow and plain counting as the oracles."""

import hashlib
import os
import pickle
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from recognition.data.recordio import RecordReader, RecordWriter
from recognition.data.threads import map_in_order
from recognition.errors import InputError
from recognition.records.counting import stats
from recognition.records.encode import to_jpeg
from recognition.records.packing import pack_folder, pack_list, unpack
from recognition.records.pair_lists import read_pair_list
from recognition.records.pairing import encode_pairs, make_pairs
from recognition.records.verifying import verify
from recognition.verification.pairs import load_pairs, write_pairs
from tests.conftest import FIXTURES
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
    assert os.listdir(tmp_path / "out") == []
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


@pytest.mark.parametrize("style", ["im2rec", "face2rec"])
def test_lists_pack_like_folders(style, people, tmp_path):
    lines = []
    for label, name in enumerate(COUNTS):
        for file in (people / name).iterdir():
            path = file.relative_to(tmp_path)
            lines.append(f"{len(lines)}\t{label}.000000\t{path}" if style == "im2rec" else f"1\t{path}\t{label}")
    (tmp_path / "faces.lst").write_text("\n".join(np.random.default_rng(0).permutation(lines)) + "\n")
    pack_list(tmp_path / "faces.lst", tmp_path / "out")
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
        pack_list(tmp_path / "faces.lst", tmp_path / "out")


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


# --- verify and stats -------------------------------------------------------------------------------------------------


def test_a_sound_set_is_called_sound(people, tmp_path):
    pack_folder(people, tmp_path / "out")
    seen = verify(tmp_path / "out" / "train.rec")
    assert seen.problems == []
    assert (seen.num_images, seen.num_classes, seen.sizes) == (8, 3, {(16, 16): 8})
    assert sorted(seen.images_per_class) == sorted(COUNTS.values())
    counted = stats(tmp_path / "out" / "train.rec")
    assert sorted(counted.images_per_class) == sorted(COUNTS.values())
    assert counted.image_bytes == seen.image_bytes == sum(file.stat().st_size for file in people.glob("*/*.jpg"))
    assert "1 / 3 / 4 (min / median / max)" in str(seen)


@pytest.mark.parametrize("layout", ["insightface", "im2rec", "vector_label"])
def test_files_by_mxnet_are_sound(layout):
    seen = verify(FIXTURES / "recordio" / layout / "train.rec")
    assert seen.problems == []
    assert seen.num_images == 24


def spoil(folder: Path, how: str) -> None:
    rec, idx = folder / "train.rec", folder / "train.idx"
    (folder / "train.crc").unlink()  # it would find them all, and first
    with RecordReader(rec) as reader:
        third, fourth = reader.offset(3), reader.offset(4)
        identity = reader.offset(9)
    data = bytearray(rec.read_bytes())
    match how:
        case "corrupt image":
            data[third + 32 : third + 40] = bytes(8)
        case "half an image":
            data[fourth - 30 : fourth] = b"\xff\xd9" + bytes(28)
        case "label too large":
            data[third + 12 : third + 16] = np.float32(7).tobytes()
        case "wrong identity":
            data[third + 12 : third + 16] = np.float32(1).tobytes()
        case "bad frame":
            data[fourth : fourth + 4] = b"oops"
        case "identity range":
            data[identity + 36 : identity + 40] = np.float32(6).tobytes()
        case "record left out of the index":
            idx.write_text("".join(line for line in idx.read_text().splitlines(True) if not line.startswith("3\t")))
        case "bytes after the end":
            data += b"tail of a longer file"
        case "too few identities":
            (folder / "property").write_text("5,16,16")
    rec.write_bytes(data)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("corrupt image", r"key 3 at offset \d+: not a readable image"),
        ("half an image", r"key 3 at offset \d+: not a readable JPEG"),
        ("label too large", r"key 3 at offset \d+: label 7 is outside the 3 classes"),
        ("wrong identity", r"key 9 at offset \d+: claims keys 1 to 3, which are not all of class 0"),
        ("bad frame", r"key 4 at offset \d+: no record begins"),
        ("identity range", r"key 9 at offset \d+: claims keys 1 to 5"),
        ("record left out of the index", r"\d+ bytes before key 4"),
        ("bytes after the end", r"21 bytes after offset"),
        ("too few identities", "3 identity records for 5 classes"),
    ],
)
def test_verify_finds(how, message, people, tmp_path):
    pack_folder(people, tmp_path / "out")
    spoil(tmp_path / "out", how)
    seen = verify(tmp_path / "out" / "train.rec")
    assert seen.num_problems >= 1
    assert any(re.search(message, problem) for problem in seen.problems), seen.problems
    assert f"problem: {seen.problems[0]}" in str(seen)


# --- pairs ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def crowd(tmp_path) -> Path:
    """Eight identities with 2 to 9 empty files: drawing pairs looks at names only."""
    for person in range(8):
        (tmp_path / "crowd" / f"p{person}").mkdir(parents=True)
        for number in range(person + 2):
            (tmp_path / "crowd" / f"p{person}" / f"{number}.jpg").touch()
    return tmp_path / "crowd"


@pytest.mark.parametrize("num_pairs", [20, 60, 200, None])
def test_pairs_are_balanced_distinct_and_laid_out_as_lfw(num_pairs, crowd):
    pairs, issame = make_pairs(crowd, num_pairs=num_pairs)
    possible = sum(n * (n - 1) // 2 for n in range(2, 10))
    assert len(pairs) == len(issame) == (num_pairs or possible // 10 * 20)
    folds = np.array(issame).reshape(10, 2, -1)
    assert folds[:, 0].all()
    assert not folds[:, 1].any()
    for (one, two), same in zip(pairs, issame):
        assert (Path(one).parent == Path(two).parent) == same
        assert one != two
    assert len({frozenset(pair) for pair in pairs}) == len(pairs)


def test_pairs_depend_on_names_and_seed_alone(crowd):
    assert make_pairs(crowd, num_pairs=100) == make_pairs(crowd, num_pairs=100)
    assert make_pairs(crowd, num_pairs=100) != make_pairs(crowd, num_pairs=100, seed=1)


def test_every_identity_is_equally_likely_in_pairs(tmp_path):
    """Identity `big` has 100 images, 19 others have 10: it must not take the share its 4,950 pairs would give it."""
    for person in range(20):
        folder = tmp_path / f"p{person:02d}"
        folder.mkdir()
        for number in range(100 if person == 0 else 10):
            (folder / f"{number}.jpg").touch()
    pairs, issame = make_pairs(tmp_path, num_pairs=800)
    genuine = Counter(Path(one).parent.name for (one, _), same in zip(pairs, issame) if same)
    impostor = Counter(Path(path).parent.name for pair, same in zip(pairs, issame) if not same for path in pair)
    assert len(genuine) == len(impostor) == 20
    # 400 genuine pairs over 20 people: 20 each, standard deviation below 4.4; 800 impostor images: 40, below 6.2.
    assert genuine["p00"] < 20 + 5 * 4.4
    assert impostor["p00"] < 40 + 5 * 6.2


@pytest.mark.parametrize("num_pairs", [0, 30, -20, 100_000])
def test_impossible_numbers_of_pairs(num_pairs, crowd):
    with pytest.raises(InputError, match=r"take a multiple of 20 up to \d+"):
        make_pairs(crowd, num_pairs=num_pairs)


def test_too_few_images_for_pairs(people):
    with pytest.raises(InputError, match="allows 9 pairs of one person and 19 of two, 10 folds need at least 10"):
        make_pairs(people)


def test_bin_is_what_insightface_unpickles(people, tmp_path):
    pairs, issame = make_pairs(people, folds=3)
    write_pairs(tmp_path / "a.bin", encode_pairs(pairs), issame)
    with open(tmp_path / "a.bin", "rb") as file:
        images, flags = pickle.load(file, encoding="bytes")
    assert flags == issame
    assert all(type(flag) is bool for flag in flags)
    digest = lambda data: hashlib.sha256(data).hexdigest()  # noqa: E731
    assert [digest(image) for image in images] == [digest(Path(path).read_bytes()) for pair in pairs for path in pair]


def test_bin_opens_in_our_own_reader(people, tmp_path):
    pairs, issame = make_pairs(people, folds=3)
    write_pairs(tmp_path / "a.bin", encode_pairs(pairs, image_size=24), issame)
    opened = load_pairs(tmp_path / "a.bin")
    assert opened.images.shape == (2 * len(issame), 24, 24, 3)
    assert opened.issame.tolist() == issame


def test_write_pairs_refuses_odd_lists_and_leaves_nothing(tmp_path):
    for images, issame in (([b"a"], [True]), ([], [])):
        with pytest.raises(InputError, match="give two images for each pair"):
            write_pairs(tmp_path / "a.bin", images, issame)
    with pytest.raises(TypeError):
        write_pairs(tmp_path / "a.bin", [b"a", object()], [True])
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    "text",
    [
        "1\t1\nanna\t1\t3\nanna\t2\tcarl\t4\n",
        "anna/anna_0001.jpg,anna/anna_0003.jpg,1\nanna/anna_0002.jpg,carl/carl_0004.jpg,0\n",
        "path1,path2,issame\n\nanna/anna_0001.jpg\tanna/anna_0003.jpg\t1\nanna/anna_0002.jpg\tcarl/carl_0004.jpg\t0\n",
    ],
    ids=["pairs.txt", "csv", "tsv"],
)
def test_pair_lists(text, tmp_path):
    (tmp_path / "pairs").write_text(text)
    pairs, issame = read_pair_list(tmp_path / "pairs", "root")
    assert issame == [True, False]
    assert pairs == [
        ("root/anna/anna_0001.jpg", "root/anna/anna_0003.jpg"),
        ("root/anna/anna_0002.jpg", "root/carl/carl_0004.jpg"),
    ]


@pytest.mark.parametrize(
    ("text", "message"), [("a,b,1\na,b,maybe\n", "line 2 is 'a,b,maybe'"), ("\n", "holds no pairs")]
)
def test_bad_pair_lists(text, message, tmp_path):
    (tmp_path / "pairs.csv").write_text(text)
    with pytest.raises(InputError, match=message):
        read_pair_list(tmp_path / "pairs.csv", tmp_path)


def test_pair_list_with_a_missing_file(tmp_path):
    with pytest.raises(InputError, match="nobody.jpg: cannot be read .No such file"):
        encode_pairs([(str(tmp_path / "nobody.jpg"), "b.jpg")])
