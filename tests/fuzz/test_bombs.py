"""Files that promise, or are, gigabytes are refused before memory is taken for them."""

import mmap
import os

import numpy as np
import pytest

from recognition.data.decode import announced_size, decode_into
from recognition.data.record_format import FIRST, FRAME, LAST, MAGIC, MIDDLE
from recognition.data.recordio import RecordReader, RecordWriter
from recognition.errors import InputError
from tests.fuzz.bombs import KINDS, MOST, bomb
from tests.fuzz.processes import run_cases
from tests.pictures import encoded

SPARE_BYTES = 48 << 20
IMAGE = np.zeros((16, 16, 3), np.uint8)


def under_limit(work) -> str:
    """What `work` gives where it may map SPARE_BYTES more; the message of an InputError; or how it ended."""

    def case(number: int) -> dict:
        try:
            return {"said": str(work())}
        except InputError as error:
            return {"said": f"InputError: {error}"}

    [(_, said)] = run_cases(case, [0], jobs=1, spare_bytes=SPARE_BYTES)
    return said if isinstance(said, str) else said["said"]


def test_the_limit_is_one():
    # A map of its own: memory that this process freed before is there to be used again.
    assert "Cannot allocate memory" in under_limit(lambda: len(mmap.mmap(-1, 2 * SPARE_BYTES)))


@pytest.mark.parametrize("kind", KINDS)
def test_image_bombs_are_refused_before_a_pixel_is_allocated(kind):
    decode_into(np.empty_like(IMAGE), encoded(IMAGE, kind.split()[0]), lambda: "good")  # loads what the format needs
    for side, words in ((MOST, "exceeds limit of 178956970 pixels"), (13_000, "the image is 13000x13000 pixels")):
        payload = bomb(kind, side)
        said = under_limit(lambda payload=payload: decode_into(np.empty_like(IMAGE), payload, lambda: "here"))
        match kind:
            case "PNG with a text":
                words = "not a readable image (Decompressed data too large"
            case "WEBP" if side < MOST:
                words = "not a readable image (could not create decoder object"  # it allocates when it is opened
            case "JPEG" if side == MOST:
                words = "the image is 65500x65500 pixels, 16x16 is expected"
        assert said.startswith("InputError: here: ")
        assert words in said
    said = under_limit(lambda: announced_size(bomb(kind), lambda: "here"))
    assert said.startswith("InputError: here: not a readable")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("train.idx", r"train.idx: line 1 is '\x00\x00"),
        ("property", r"property: '\x00\x00"),
        ("train.crc", "train.crc: holds no checks of records"),
    ],
)
def test_files_of_four_gigabytes_where_kilobytes_belong_are_refused(name, message, tmp_path):
    with RecordWriter(tmp_path / "train.rec") as writer:
        writer.write(0, b"x", 0)
    (tmp_path / name).unlink(missing_ok=True)
    (tmp_path / name).touch()
    os.truncate(tmp_path / name, 4 << 30)
    said = under_limit(lambda: RecordReader(tmp_path / "train.rec").num_classes)
    assert said.startswith("InputError: ")
    assert message.replace("\x00", "\\x00") in said


def test_a_record_of_a_million_empty_parts_takes_no_more_than_its_file(tmp_path):
    parts = [FRAME.pack(MAGIC, FIRST << 29 | 24) + bytes(24), FRAME.pack(MAGIC, MIDDLE << 29) * 1_000_000]
    (tmp_path / "train.rec").write_bytes(b"".join(parts) + FRAME.pack(MAGIC, LAST << 29))
    (tmp_path / "train.idx").write_text("0\t0\n")
    assert under_limit(lambda: len(RecordReader(tmp_path / "train.rec").read(0).payload)) == "4000004"
