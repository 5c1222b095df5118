"""The checks beside a record file: what is in them, that no flipped bit gets past them, and when they are refused."""

import os
import pickle
import shutil
import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest

from recognition.data import record_writer
from recognition.data.record_checks import checks_path, write_checks
from recognition.data.recordio import RecordError, RecordReader, RecordWriter
from recognition.errors import InputError
from tests.data.small_records import EXPECTED, RECORDS, body, frame, small_set, write_files

LABELS = [-1, 1, 0, 1, 0, 1, 0, 1, -1, -1]  # of small_set


def read_all(rec) -> int:
    """Number of records; whatever is wrong with any of them is raised."""
    with RecordReader(rec) as reader:
        return sum(1 for _ in reader)


# --- what they hold ---------------------------------------------------------------------------------------------------


def test_the_bytes_of_the_file_are_those_that_its_description_says(tmp_path):
    rec = small_set(tmp_path)
    data, crc = rec.read_bytes(), (tmp_path / "train.crc").read_bytes()
    offsets = [int(line.split("\t")[1]) for line in (tmp_path / "train.idx").read_text().splitlines()]
    spans = [data[a:b] for a, b in zip(offsets, [*offsets[1:], len(data)])]
    labels = struct.pack("<10q", *LABELS)
    crcs = struct.pack("<10I", *(zlib.crc32(key.to_bytes(8, "little") + span) for key, span in enumerate(spans)))
    sums = [zlib.crc32(column) for column in (struct.pack("<10q", *range(10)), labels, crcs)]
    head = struct.pack("<16sqqIII16x", b"arcscale check 1", 10, len(data), *sums)
    assert crc == head + struct.pack("<I", zlib.crc32(head)) + labels + crcs


def test_a_file_by_mxnet_is_unchecked_until_its_checks_are_made(tmp_path):
    for layout, expected in EXPECTED.items():
        shutil.copytree(RECORDS / layout, tmp_path / layout)
        with RecordReader(tmp_path / layout / "train.rec") as reader:
            assert reader.checks is None
            assert write_checks(reader) == tmp_path / layout / "train.crc"
            assert reader.checks is None
        with RecordReader(tmp_path / layout / "train.rec") as reader:
            assert len(list(reader)) == len(reader)
            assert reader.image_labels().tolist() == [int(r["label"][0]) for r in expected["records"].values()]
        assert not list((tmp_path / layout).glob(".*"))


def test_checks_made_afterwards_are_those_of_the_writer(tmp_path):
    rec = small_set(tmp_path)
    written = checks_path(rec).read_bytes()
    checks_path(rec).unlink()
    write_checks(RecordReader(rec))
    assert checks_path(rec).read_bytes() == written


def test_columns_follow_the_keys_and_not_the_order_of_writing(tmp_path):
    with RecordWriter(tmp_path / "a.rec") as writer:
        for key in (7, 3, 5_000_000_000, 0):
            writer.write(key, b"x", key % 4)
    with RecordReader(tmp_path / "a.rec") as reader:
        assert [record.key for record in reader] == [0, 3, 7, 5_000_000_000]
        assert reader.image_labels().tolist() == [0, 3, 3, 0]


def test_a_damaged_set_gets_no_checks(tmp_path):
    rec = write_files(tmp_path, frame(body()) + frame(body()[:20]), b"0\t0\n1\t36\n")
    with pytest.raises(RecordError, match="key 1 at offset 36: 20 bytes are too few"):
        write_checks(RecordReader(rec))
    assert sorted(os.listdir(tmp_path)) == ["train.idx", "train.rec"]


def test_records_without_a_class_are_kept_apart(tmp_path):
    with RecordWriter(tmp_path / "a.rec") as writer:
        for key, labels in enumerate([5, -1, 0.5, 2.0**63, [1, 2]]):
            writer.write(key, b"" if key == 4 else b"x", labels)
    with RecordReader(tmp_path / "a.rec") as reader:
        assert reader.checks.labels(reader.keys).tolist() == [5, -2, -2, -2, -1]
        with pytest.raises(RecordError, match="key 1 at offset 36: label -1 is not a class number"):
            reader.image_labels()
    with RecordWriter(tmp_path / "a.rec") as writer:
        writer.write(0, b"x", 1)
        writer.write(4, b"", [1, 2])
    with pytest.raises(RecordError, match="a.rec key 4 at offset 36: it has labels and no image; pack"):
        RecordReader(tmp_path / "a.rec").image_labels()


def test_a_reader_sent_to_another_process_stays_as_checked_as_it_was(tmp_path):
    rec = small_set(tmp_path)
    assert pickle.loads(pickle.dumps(RecordReader(rec))).checks is not None
    assert pickle.loads(pickle.dumps(RecordReader(rec, checked=False))).checks is None


# --- bit rot ----------------------------------------------------------------------------------------------------------


def test_4000_flipped_bits_are_found_and_without_checks_nobody_says_all_is_well(tmp_path):
    rec, rng = small_set(tmp_path), np.random.default_rng(0)
    assert read_all(rec) == 10
    sizes = [(path, path.stat().st_size) for path in (rec, rec.with_suffix(".idx"))]
    unseen, unnamed, unchecked = [], 0, 0
    for _ in range(4000):
        bit = int(rng.integers(8 * sum(size for _, size in sizes)))
        path, at = sizes[0][0], bit // 8
        if at >= sizes[0][1]:
            path, at = sizes[1][0], at - sizes[0][1]
        with open(path, "r+b", buffering=0) as file:
            good = os.pread(file.fileno(), 1, at)
            os.pwrite(file.fileno(), bytes([good[0] ^ 1 << bit % 8]), at)
            try:
                read_all(rec)
                unseen.append((path.name, at, bit % 8))
            except RecordError as error:
                unnamed += str(tmp_path) not in str(error)
            try:
                with RecordReader(rec, checked=False) as reader:
                    assert reader.checks is None
                    unchecked += len(list(reader)) == 10
            except RecordError:
                pass
            os.pwrite(file.fileno(), good, at)
    assert unseen == []
    assert unnamed == 0
    assert unchecked > 1000  # it is the checks that find these
    assert read_all(rec) == 10


def test_a_flipped_bit_is_named_with_file_key_and_offset(tmp_path):
    rec = small_set(tmp_path)
    with RecordReader(rec) as reader:
        offset = reader.offset(4)
    with open(rec, "r+b") as file:
        os.pwrite(file.fileno(), b"\xff", offset + 40)
    reader = RecordReader(rec)
    assert bytes(reader.read(3).payload) == bytes(range(17))
    where = (
        rf"{rec} key 4 at offset {offset}: the record is not the one that train.crc knows \(CRC-32\); .*re-copy both"
    )
    with pytest.raises(RecordError, match=where):
        reader.read(4)
    with pytest.raises(RecordError, match=where):
        list(reader)
    assert bytes(RecordReader(rec, checked=False).read(4).payload) != bytes(range(40))


def test_the_padding_counts_too(tmp_path):
    rec = small_set(tmp_path)
    with RecordReader(rec) as reader:
        start, stop = reader.span(3)
        assert bytes(reader.frames(3)[-3:]) == bytes(3)  # 17 + 32 bytes, and three more
    with open(rec, "r+b") as file:
        os.pwrite(file.fileno(), b"x", stop - 1)
    with pytest.raises(RecordError, match=f"key 3 at offset {start}: the record is not the one"):
        read_all(rec)


# --- checks that are refused ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda crc: crc[:63], "holds no checks of records"),
        (lambda crc: b"", "holds no checks of records"),
        (lambda crc: crc.replace(b"check 1", b"check 2"), "holds no checks of records, or those of another version"),
        (lambda crc: crc[:35] + b"\x01" + crc[36:], "its first 64 bytes are damaged"),
        (lambda crc: crc[:-1], "has 183 bytes, not 184"),
        (lambda crc: crc + b"x", "has 185 bytes, not 184"),
    ],
)
def test_damaged_checks_are_an_error_that_says_what_to_do(damage, message, tmp_path):
    rec, crc = small_set(tmp_path), tmp_path / "train.crc"
    crc.write_bytes(damage(crc.read_bytes()))
    with pytest.raises(RecordError, match=rf"train\.crc: {message}.*; .*delete it and have .* verify --write-checks"):
        RecordReader(rec)
    with RecordReader(rec, checked=False) as reader:
        write_checks(reader)
    assert read_all(rec) == 10


def test_a_flipped_bit_in_any_byte_of_the_checks_is_found_and_named_as_theirs(tmp_path):
    rec, crc = small_set(tmp_path), tmp_path / "train.crc"
    good, rng = crc.read_bytes(), np.random.default_rng(0)
    for at in range(len(good)):
        bad = bytearray(good)
        bad[at] ^= 1 << int(rng.integers(8))
        crc.write_bytes(bad)
        with pytest.raises(RecordError, match=r"train\.crc: "):  # noqa: PT012 - either of the two
            read_all(rec)
            RecordReader(rec).image_labels()


@pytest.mark.parametrize("change", ["other size", "other count", "cut"])
def test_checks_of_another_file_are_refused(change, tmp_path):
    rec = small_set(tmp_path)
    match change:
        case "other size":
            rec.write_bytes(rec.read_bytes() + frame(body()))
        case "other count":
            rec.with_suffix(".idx").write_text(rec.with_suffix(".idx").read_text().rpartition("9\t")[0])
        case "cut":
            rec.write_bytes(rec.read_bytes()[:-4])
    with pytest.raises(RecordError, match=r"train.crc: was made of 10 records in 468 bytes, but train.rec has \d+ in"):
        RecordReader(rec)


def test_labels_of_other_keys_are_refused(tmp_path):
    rec = small_set(tmp_path)
    idx = rec.with_suffix(".idx")
    idx.write_text(idx.read_text().replace("\n4\t", "\n8000\t"))
    reader = RecordReader(rec)
    assert reader.read(3).label == 1
    with pytest.raises(RecordError, match="train.crc: was made of other keys than the index has; re-copy both, or de"):
        reader.image_labels()


def test_checks_that_cannot_be_read(tmp_path):
    rec = small_set(tmp_path, checks=False)
    (tmp_path / "train.crc").mkdir()
    with pytest.raises(RecordError, match="train.crc: cannot be read .Is a directory"):
        RecordReader(rec)
    with pytest.raises(InputError, match="need three names"):
        RecordWriter(tmp_path / "a.crc")


# --- the writer's order -----------------------------------------------------------------------------------------------


class Cut(BaseException):
    """The process ends here."""


@pytest.mark.parametrize("calls_before", range(5))
def test_cut_between_two_renames_no_set_stands_beside_the_checks_of_another(calls_before, tmp_path, monkeypatch):
    """After each of unlink, unlink, rename, rename: the old set or the new one, whole, its own checks or none."""
    rec = small_set(tmp_path)
    old = [bytes(record.payload) for record in RecordReader(rec)]
    new = [bytes(len(payload)) for payload in old]  # so size and count are the same: only the order can tell
    writer = RecordWriter(rec)
    for record, payload in zip(RecordReader(rec), new):
        writer.write(record.key, payload, record.label, id=record.id)
    left, real = [calls_before], {name: getattr(os, name) for name in ("unlink", "replace")}

    def counted(name):
        def call(*arguments, **options):
            if left[0] == 0:
                raise Cut
            left[0] -= 1
            return real[name](*arguments, **options)

        return call

    # What stands is what a kill at this point leaves; `abort` is what it never comes to.
    monkeypatch.setattr(record_writer.RecordWriter, "abort", lambda self: None)
    monkeypatch.setattr(os, "replace", counted("replace"))
    monkeypatch.setattr(os, "unlink", counted("unlink"))
    with pytest.raises(Cut):
        writer.close()
    monkeypatch.undo()
    with RecordReader(rec) as reader:
        assert [bytes(record.payload) for record in reader] == (old if calls_before < 3 else new)
        assert (reader.checks is None) == (calls_before > 1)


# --- a file that is cut while it is in use ----------------------------------------------------------------------------


def test_a_file_cut_while_it_is_mapped_is_an_error_and_no_bus_error(tmp_path):
    with RecordWriter(tmp_path / "a.rec") as writer:
        for key in range(20):
            writer.write(key, bytes(10_000), 0)
    code = (
        "import os, sys; from recognition.data.recordio import RecordError, RecordReader\n"
        "reader = RecordReader(sys.argv[1]); os.truncate(sys.argv[1], 5000)\n"
        "for read in (reader.read, reader.span):\n"
        "    try: read(19)\n"
        "    except RecordError as error: print(error)\n"
    )
    run = subprocess.run([sys.executable, "-c", code, tmp_path / "a.rec"], capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stderr
    assert run.stdout.count("a.rec key 19 at offset 190608: the file was cut from 200640 to 5000 bytes while it") == 2


def test_checks_cut_while_they_are_mapped_are_an_error_and_no_bus_error(tmp_path):
    """More than a page of them, for what lies behind the cut in the last page that is left reads as zeros."""
    with RecordWriter(tmp_path / "a.rec") as writer:
        for key in range(2000):
            writer.write(key, b"x", 0)
    code = (
        "import os, sys; from recognition.data.recordio import RecordError, RecordReader\n"
        "reader = RecordReader(sys.argv[1]); reader.read(0); os.truncate(sys.argv[1][:-4] + '.crc', 5000)\n"
        "for read in (lambda: reader.read(1999), reader.image_labels):\n"
        "    try: read()\n"
        "    except RecordError as error: print(error)\n"
    )
    run = subprocess.run([sys.executable, "-c", code, tmp_path / "a.rec"], capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stderr
    assert run.stdout.count("a.crc: the file was cut from 24064 to 5000 bytes while it was in use; re-copy it, ") == 2
