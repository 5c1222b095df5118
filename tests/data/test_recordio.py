"""RecordIO against files that MXNet 1.9.1 wrote (tests/fixtures/recordio), and what our own writer does."""

import hashlib
import os
import struct
import subprocess
import sys
import threading

import numpy as np
import pytest

from recognition.data.record_format import MAGIC_BYTES, MAX_BYTES
from recognition.data.recordio import RecordError, RecordReader, RecordWriter
from recognition.errors import InputError
from tests.data.small_records import EXPECTED, LAYOUTS, RECORDS, body, frame, small_set, write_files

# --- files written by MXNet -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("with_idx", [True, False], ids=["idx", "scan"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_reads_what_mxnet_wrote(layout, with_idx, tmp_path):
    idx = RECORDS / layout / "train.idx" if with_idx else tmp_path / "absent.idx"
    expected = EXPECTED[layout]
    with RecordReader(RECORDS / layout / "train.rec", idx) as reader:
        for key, record in ((int(key), record) for key, record in expected["records"].items()):
            got = reader.read(key)
            assert got.labels.tolist() == np.float32(record["label"]).tolist()
            assert got.label == int(record["label"][0])
            assert len(got.payload) == record["nbytes"]
            assert hashlib.sha256(got.payload).hexdigest() == record["sha256"]
        first = 1 if layout in ("insightface", "vector_label") else 0
        assert reader.image_keys.tolist() == list(range(first, first + len(expected["records"])))
        assert reader.has_header == (first == 1)
        assert len(reader) == len(expected["records"]) + (expected["num_classes"] + 1 if first else 0)
        assert [record.key for record in reader] == reader.keys.tolist()


def test_number_of_classes_from_property_or_identity_records(tmp_path):
    assert RecordReader(RECORDS / "insightface" / "train.rec").num_classes == 6
    rec = small_set(tmp_path)
    assert RecordReader(rec).num_classes == 2
    (tmp_path / "property").write_text("5,112,112")
    assert RecordReader(rec).num_classes == 5
    assert RecordReader(RECORDS / "im2rec" / "train.rec").num_classes is None
    (tmp_path / "property").write_text("many")
    with pytest.raises(RecordError, match="property: 'many' is not a number of classes"):
        _ = RecordReader(rec).num_classes


@pytest.mark.parametrize("layout", LAYOUTS)
def test_writes_the_very_bytes_that_mxnet_wrote(layout, tmp_path):
    source = RECORDS / layout
    with RecordReader(source / "train.rec") as reader, RecordWriter(tmp_path / "train.rec") as writer:
        scalar = {key: struct.unpack_from("<I", (source / "train.rec").read_bytes(), reader.offset(key) + 8)[0] == 0
                  for key in reader.keys.tolist()}  # fmt: skip
        for record in reader:
            labels = record.labels[0] if scalar[record.key] else record.labels
            writer.write(record.key, record.payload, labels, record.id, record.id2)
    assert (tmp_path / "train.rec").read_bytes() == (source / "train.rec").read_bytes()
    assert (tmp_path / "train.idx").read_bytes() == (source / "train.idx").read_bytes()


# --- our own writer ---------------------------------------------------------------------------------------------------


def test_random_payloads_come_back_whatever_magics_they_hold(tmp_path):
    rng = np.random.default_rng(0)
    pieces = [MAGIC_BYTES, MAGIC_BYTES[:3], b"\0", b"ab", b"\x0a\x23\xd7", bytes(4)]
    payloads = [b"".join(pieces[i] for i in rng.integers(0, 6, rng.integers(0, 12))) for _ in range(300)]
    with RecordWriter(tmp_path / "a.rec") as writer:
        for key, payload in enumerate(payloads):
            writer.write(key, payload, key)
    for idx in ("a.idx", "absent.idx"):
        with RecordReader(tmp_path / "a.rec", tmp_path / idx) as reader:
            assert [bytes(reader.read(key).payload) for key in range(300)] == payloads
    # No aligned magic is left inside any frame, where a reader that resynchronises would take it for a record.
    data, offset = (tmp_path / "a.rec").read_bytes(), 0
    while offset < len(data):
        assert data[offset : offset + 4] == MAGIC_BYTES
        length = struct.unpack_from("<I", data, offset + 4)[0] & MAX_BYTES
        inside = data[offset + 8 : offset + 8 + length]
        assert all(inside[i : i + 4] != MAGIC_BYTES for i in range(0, length, 4))
        offset += 8 + length + -length % 4


def test_keys_in_any_order_and_with_gaps(tmp_path):
    with RecordWriter(tmp_path / "a.rec") as writer:
        for key in (7, 3, 5_000_000_000, 0):
            writer.write(key, str(key).encode(), key % 4)
    with RecordReader(tmp_path / "a.rec") as reader:
        assert reader.keys.dtype == reader.offsets.dtype == np.int64
        assert reader.keys.tolist() == [0, 3, 7, 5_000_000_000]
        for key in reader.keys:
            assert bytes(reader.read(key).payload) == str(key).encode()
        for key in (1, 4, -1, 6_000_000_000):
            with pytest.raises(RecordError, match=f"key {key} is not in the index"):
                reader.read(key)


LARGE = [(1 << 24) - 1, 1 << 24, (1 << 24) + 1, 17_091_657, 42_474_557, (1 << 31) + 1]


def test_labels_above_2_to_the_24_come_back_exactly(tmp_path):
    with RecordWriter(tmp_path / "a.rec") as writer:
        for key, label in enumerate(LARGE):
            writer.write(key, b"x", label, id=key)
            writer.write(key + 100, b"x", [label, 0.25], id=key)
    with RecordReader(tmp_path / "a.rec") as reader:
        for key, label in enumerate(LARGE):
            assert reader.read(key).label == reader.read(key + 100).label == label
            assert reader.read(key).labels[0] == np.float32(label)
            assert reader.read(key).id == key
            assert reader.read(key).id2 == (label if label >= 1 << 24 else 0)


def test_rounded_labels_of_other_writers_are_refused(tmp_path):
    rec = write_files(tmp_path, frame(body(float(1 << 24))))
    with pytest.raises(RecordError, match="key 0 at offset 0: label 16777216 may be rounded .* launch/records"):
        _ = RecordReader(rec).read(0).label


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((-1, b"", 0), "key -1 is not a number from 0"),
        ((1, b"", float("nan")), "labels nan are not finite"),
        ((1, b"", []), r"labels \[\] are not finite"),
        ((1, b"", 1 << 24, 0, 5), "must be kept in id2"),
        ((1, b"", [0, (1 << 24) + 1]), "only the first is kept exactly"),
        ((1, b"", 0, -1), "do not fit in 64 bits"),
        ((1, memoryview(bytes(1)).toreadonly(), 0, 1 << 64), "do not fit in 64 bits"),
        ((1, bytes(MAX_BYTES - 23), 0), "a record holds at most"),
    ],
)
def test_refused_records_leave_the_writer_usable(arguments, message, tmp_path):
    with RecordWriter(tmp_path / "a.rec") as writer:
        writer.write(0, b"good", 0)
        with pytest.raises(InputError, match=message):
            writer.write(*arguments)
        writer.write(1, b"also good", 1)
    with RecordReader(tmp_path / "a.rec") as reader:
        assert [bytes(record.payload) for record in reader] == [b"good", b"also good"]


@pytest.mark.parametrize("keys", [[], [4, 2, 4]])
def test_close_refuses_nothing_and_repeated_keys(keys, tmp_path):
    writer = RecordWriter(tmp_path / "a.rec")
    for key in keys:
        writer.write(key, b"x", 0)
    with pytest.raises(InputError, match="nothing was written|key 4 was written twice"):
        writer.close()
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_exception_leaves_the_files_before_it_as_they_were(error, tmp_path):
    rec = small_set(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def write_half() -> None:
        with RecordWriter(rec) as writer:
            writer.write(0, b"half", 0)
            raise error

    with pytest.raises(error):
        write_half()
    assert sorted(before) == ["train.crc", "train.idx", "train.rec"]
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_full_disk_leaves_nothing_under_the_final_name(tmp_path):
    code = (
        "import resource, sys; from recognition.data.recordio import RecordWriter\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))\n"
        "try:\n"
        "    with RecordWriter(sys.argv[1]) as writer:\n"
        "        for key in range(40): writer.write(key, bytes(100_000), 0)\n"
        "except OSError as error: print(error.strerror)\n"
    )
    run = subprocess.run([sys.executable, "-c", code, tmp_path / "a.rec"], capture_output=True, text=True, timeout=60)
    assert run.stdout.strip() == "File too large", run.stderr
    assert os.listdir(tmp_path) == []


# --- sharing ----------------------------------------------------------------------------------------------------------


def test_threads_and_forked_processes_share_one_reader():
    reader = RecordReader(RECORDS / "insightface" / "train.rec")
    expected = EXPECTED["insightface"]["records"]
    wrong = []

    def read_many(seed: int) -> None:
        for key in np.random.default_rng(seed).integers(1, 25, 300).tolist():
            if hashlib.sha256(reader.read(key).payload).hexdigest() != expected[str(key)]["sha256"]:
                wrong.append(key)

    child = os.fork()
    threads = [threading.Thread(target=read_many, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if child == 0:
        os._exit(len(wrong))
    assert wrong == []
    assert os.waitpid(child, 0)[1] == 0


def test_payloads_outlive_the_reader():
    reader = RecordReader(RECORDS / "insightface" / "train.rec")
    payload = reader.read(3).payload
    reader.close()
    assert hashlib.sha256(payload).hexdigest() == EXPECTED["insightface"]["records"]["3"]["sha256"]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_sample_is_what_the_record_holds(layout):
    with RecordReader(RECORDS / layout / "train.rec") as reader:
        for place, key in enumerate(reader.keys.tolist()):
            record = reader.read(key)
            payload, label = reader.sample(place)
            assert (bytes(payload), label) == (bytes(record.payload), record.label)


@pytest.mark.parametrize("label", [0, 3, 2**24 - 1, 2**24, 2**24 + 1, (5, 6)])
def test_a_sample_has_the_exact_label(label, tmp_path):
    with RecordWriter(tmp_path / "train.rec") as writer:
        writer.write(7, b"abcde", label)
    for name in ("with checks", "without"):
        with RecordReader(tmp_path / "train.rec") as reader:
            assert (reader.checks is None) == (name == "without")
            payload, found = reader.sample(0)
            assert (bytes(payload), found) == (b"abcde", label if isinstance(label, int) else label[0])
        (tmp_path / "train.crc").unlink(missing_ok=True)


@pytest.mark.parametrize("at", [0, 4, 8, 12, 20, 33])
def test_a_sample_of_a_damaged_record_is_an_error(at, tmp_path):
    """The magic, the length, the flag, the label, an id, the payload: with checks nothing passes."""
    with RecordWriter(tmp_path / "train.rec") as writer:
        writer.write(7, b"abcde", 3)
    data = bytearray((tmp_path / "train.rec").read_bytes())
    data[at] ^= 1
    (tmp_path / "train.rec").write_bytes(data)
    with (
        RecordReader(tmp_path / "train.rec") as reader,
        pytest.raises(RecordError, match=r"train.rec key 7 at offset 0"),
    ):
        reader.sample(0)


@pytest.mark.parametrize("label", [float("nan"), -1.0, 1.5])
def test_a_sample_without_a_class_is_an_error(label, tmp_path):
    with RecordWriter(tmp_path / "train.rec") as writer:
        writer.write(7, b"abcde", 3)
    data = bytearray((tmp_path / "train.rec").read_bytes())
    data[12:16] = struct.pack("<f", label)
    (tmp_path / "train.rec").write_bytes(data)
    (tmp_path / "train.crc").unlink()
    with RecordReader(tmp_path / "train.rec") as reader, pytest.raises(RecordError, match="is not a class number"):
        reader.sample(0)


@pytest.mark.parametrize("damage", [(0, b"\0"), (4, struct.pack("<I", 23)), (4, struct.pack("<I", 1 << 20))])
def test_a_sample_of_a_damaged_frame_is_an_error_without_checks_too(damage, tmp_path):
    assert_no_sample(tmp_path, *damage, size=40)


def test_a_sample_in_parts_is_read_as_one_in_a_file_of_any_size(tmp_path):
    """A frame that is the first part of a record: its word is a length that this file, mostly a hole, has room for."""
    assert_no_sample(tmp_path, 4, struct.pack("<I", 1 << 29 | 29), size=(1 << 29) + 4096)


def assert_no_sample(folder, at, damage, *, size):
    with RecordWriter(folder / "train.rec") as writer:
        writer.write(7, b"abcde", 3)
    (folder / "train.crc").unlink()
    with open(folder / "train.rec", "r+b") as file:
        file.seek(at)
        file.write(damage)
        file.truncate(size)
    with RecordReader(folder / "train.rec") as reader, pytest.raises(RecordError, match="train.rec key 7 at offset 0"):
        reader.sample(0)
