"""What verify and stats say of sets that are sound and of sets that were damaged on purpose, one thing at a time."""

import re
from pathlib import Path

import numpy as np
import pytest

from recognition.data.recordio import RecordReader
from recognition.records.counting import stats
from recognition.records.packing import pack_folder
from recognition.records.verifying import verify
from tests.conftest import FIXTURES
from tests.pictures import write_people

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
