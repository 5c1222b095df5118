"""What verify and stats say of sets that are sound and of sets that were damaged on purpose, one thing at a time."""

import json
import os
import re
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from recognition.data.record_checks import crc_of_key, save_checks, stored_label
from recognition.data.recordio import RecordReader, RecordWriter
from recognition.records.counting import stats
from recognition.records.packing import pack_folder
from recognition.records.verifying import verify, write_missing_checks
from tests.conftest import FIXTURES
from tests.pictures import jpeg, write_people

COUNTS = {"anna": 3, "bert": 1, "carl": 4}


@pytest.fixture
def people(tmp_path) -> Path:
    """Three identities with 3, 1 and 4 JPEGs of 16x16."""
    return write_people(tmp_path / "people", COUNTS)


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


def test_verify_finds_wrong_labels_in_the_checks(people, tmp_path):
    rec = pack_folder(people, tmp_path / "out").path
    with RecordReader(rec) as reader:
        keys, num_bytes = reader.keys, reader.num_bytes
        labels = np.array([stored_label(record) for record in reader])
        crcs = np.array([zlib.crc32(reader.frames(key), crc_of_key(int(key))) for key in keys])
    labels[3] = 2
    with open(rec.with_suffix(".crc"), "wb") as file:
        save_checks(file, keys, labels, crcs, rec_bytes=num_bytes)
    (problem,) = verify(rec).problems
    assert re.search(r"train.crc: has 1 wrong labels, first of key 3: 2, not 0; delete it", problem)
    data = bytearray(rec.with_suffix(".crc").read_bytes())
    data[64 + 8 * 3] ^= 1
    rec.with_suffix(".crc").write_bytes(data)
    assert any("its bytes have changed" in problem for problem in verify(rec).problems)


def test_a_changed_byte_is_seen_with_checks_and_possible_without(people, tmp_path):
    rec = pack_folder(people, tmp_path / "out").path
    assert verify(rec).has_checks
    assert stats(rec).has_checks
    with RecordReader(rec) as reader:
        at = reader.offset(4) - 40
    data = bytearray(rec.read_bytes())
    data[at] ^= 1
    rec.write_bytes(data)
    assert any("CRC-32" in problem for problem in verify(rec).problems)
    rec.with_suffix(".crc").unlink()
    assert not stats(rec).has_checks
    seen = verify(rec)
    assert (seen.problems, seen.has_checks) == ([], False)
    assert "checksums: unchecked: no train.crc, so a changed byte inside an image can go unseen" in str(seen)


def test_checks_are_written_once(people, tmp_path):
    rec = pack_folder(people, tmp_path / "out").path
    written = rec.with_suffix(".crc").read_bytes()
    rec.with_suffix(".crc").unlink()
    assert write_missing_checks(rec) == rec.with_suffix(".crc")
    assert rec.with_suffix(".crc").read_bytes() == written
    os.utime(rec.with_suffix(".crc"), (1, 1))
    assert write_missing_checks(rec) == rec.with_suffix(".crc")
    assert rec.with_suffix(".crc").stat().st_mtime == 1


def test_duplicates_in_a_class_and_across_classes(people, tmp_path):
    for name in ("anna/7.jpg", "anna/8.jpg", "carl/9.jpg"):
        (people / name).write_bytes((people / "anna" / "1.jpg").read_bytes())
    rec = pack_folder(people, tmp_path / "out").path
    seen = verify(rec, out_dir=tmp_path / "found")
    assert seen.num_problems == 0
    assert seen.remarks == [
        "repeats: 2 images are in their class once more, byte for byte",
        "label conflicts: 1, the same picture in several classes",
        "  key 2 (class 0) = key 4 (class 0) = key 5 (class 0) = key 11 (class 2)",
    ]
    table = (tmp_path / "found" / "duplicates.csv").read_text()
    assert table == "group,key,class\n0,2,0\n0,4,0\n0,5,0\n0,11,2\n"
    assert Image.open(tmp_path / "found" / "mean_face.png").size == (448, 448)


def write_labels(folder: Path, labels: list[int], *, num_classes: int | None) -> Path:
    """A set without a header: image i has `labels[i]`."""
    with RecordWriter(folder / "train.rec") as writer:
        for key, label in enumerate(labels):
            writer.write(key, jpeg(key), label)
    if num_classes is not None:
        (folder / "property").write_text(f"{num_classes},16,16")
    return folder / "train.rec"


def test_classes_without_images_and_the_histogram(tmp_path):
    labels = [0] * 1 + [2] * 2 + [3] * 3 + [5] * 4 + [6] * 7 + [9] * 8
    seen = verify(write_labels(tmp_path, labels, num_classes=30))
    assert seen.problems == []
    empty = [label for label in range(30) if label not in labels]
    assert seen.empty_classes.tolist() == empty
    assert seen.remarks == ["24 classes have no image: 1, 4, 7, 8, 10, ..."]
    assert seen.histogram() == [(1, 1, 1), (2, 3, 2), (4, 7, 2), (8, 15, 1)]
    assert "classes by their images: 1 with 1, 2 with 2 to 3, 2 with 4 to 7, 1 with 8 to 15" in str(seen)


def test_labels_that_other_readers_round(tmp_path):
    large = 1 << 24
    seen = verify(write_labels(tmp_path, [large - 1, large + 1, large + 1, large + 3], num_classes=None))
    assert seen.problems == []
    assert seen.remarks[-1].startswith("3 images have labels from 16777216 on: exact here (id2), but rounded")


def test_facts_are_strict_json_and_say_what_the_text_says(people, tmp_path):
    rec = pack_folder(people, tmp_path / "out").path
    facts = json.loads(json.dumps(verify(rec).facts(), allow_nan=False))
    assert {key: facts[key] for key in ("schema", "records", "images", "classes", "has_checks", "num_problems")} == {
        "schema": "arcscale.records.1",
        "records": 12,
        "images": 8,
        "classes": 3,
        "has_checks": True,
        "num_problems": 0,
    }
    assert facts["images_per_class"] == {"min": 1, "median": 3, "max": 4}
    assert facts["sizes"] == [{"width": 16, "height": 16, "images": 8}]
    assert facts["histogram"][0] == {"fewest": 1, "most": 1, "classes": 1}
    assert facts["duplicates"] == {"images": 0, "repeats": 0, "conflicts": 0}
    assert facts["alignment"]["pictures"] == 8
    assert facts["alignment"]["verdict"].startswith("too few pictures")
    assert stats(rec).facts()["duplicates"] is None


def test_nothing_is_sound_of_a_set_of_damaged_images(people, tmp_path):
    """All counts of no images at all can be shown and written; what cannot be read is no duplicate either."""
    for file in people.glob("*/*.jpg"):
        file.write_bytes(jpeg(0))
    rec = pack_folder(people, tmp_path / "out").path
    rec.with_suffix(".crc").unlink()
    rec.write_bytes(rec.read_bytes().replace(b"\xff\xdb", b"\x00\x00"))
    seen = verify(rec, out_dir=tmp_path / "found")
    assert (seen.num_images, seen.num_problems) == (0, 8)
    assert seen.remarks == ["3 classes have no image: 0, 1, 2"]
    assert json.dumps(seen.facts(), allow_nan=False)
    assert "0 images" in str(seen)
