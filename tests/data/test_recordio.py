"""RecordIO against files that MXNet 1.9.1 wrote (tests/fixtures/recordio), and against every kind of damage."""

import hashlib
import json
import os
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from recognition.data import record_index
from recognition.data.record_format import MAGIC_BYTES, MAX_BYTES
from recognition.data.recordio import RecordError, RecordReader, RecordWriter
from recognition.errors import InputError
from tests.conftest import FIXTURES

RECORDS = FIXTURES / "recordio"
EXPECTED = json.loads((RECORDS / "expected.json").read_text())
LAYOUTS = sorted(EXPECTED)


def frame(body: bytes, cflag: int = 0) -> bytes:
    return MAGIC_BYTES + struct.pack("<I", cflag << 29 | len(body)) + body + bytes(-len(body) % 4)


def body(label: float = 0.0, payload: bytes = b"jpeg", flag: int = 0) -> bytes:
    return struct.pack("<IfQQ", flag, label, 0, 0) + payload


def write_files(folder: Path, rec: bytes, idx: bytes | None = b"0\t0\n") -> Path:
    (folder / "train.rec").write_bytes(rec)
    if idx is not None:
        (folder / "train.idx").write_bytes(idx)
    return folder / "train.rec"


def small_set(folder: Path) -> Path:
    """InsightFace layout with scalar labels, label vectors, odd lengths and payloads that must be split."""
    payloads = [bytes(range(n)) for n in (0, 1, 17, 40)] + [MAGIC_BYTES, b"abcd" + MAGIC_BYTES * 2 + b"xyz", b"e" * 9]
    with RecordWriter(folder / "train.rec") as writer:
        writer.write(0, b"", [8, 10])
        for key, payload in enumerate(payloads, start=1):
            writer.write(key, payload, [key % 2, 0.5] if key % 3 == 0 else key % 2, id=key)
        writer.write(8, b"", [1, 4], id=8)
        writer.write(9, b"", [4, 8], id=9)
    return folder / "train.rec"


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
    before = rec.read_bytes(), rec.with_suffix(".idx").read_bytes()

    def write_half() -> None:
        with RecordWriter(rec) as writer:
            writer.write(0, b"half", 0)
            raise error

    with pytest.raises(error):
        write_half()
    assert sorted(os.listdir(tmp_path)) == ["train.idx", "train.rec"]
    assert (rec.read_bytes(), rec.with_suffix(".idx").read_bytes()) == before


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


# --- index and cache --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", [b"\n", b"", b"\r\n"], ids=["newline", "no newline", "windows"])
def test_index_parser_agrees_with_python(end, tmp_path, monkeypatch):
    monkeypatch.setattr(record_index, "CHUNK_BYTES", 101)
    rng = np.random.default_rng(1)
    pairs = [(int(10 ** rng.uniform(0, 12)), int(10 ** rng.uniform(0, 17.9))) for _ in range(500)] + [(0, 0)]
    text = (b"\r\n" if end == b"\r\n" else b"\n").join(b"%d\t%d" % pair for pair in pairs) + end
    (tmp_path / "a.idx").write_bytes(text)
    index = record_index.parse_idx(tmp_path / "a.idx")
    assert list(zip(index.keys.tolist(), index.offsets.tolist())) == pairs


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"7",
        b"7\t",
        b"\t7",
        b"7 8",
        b"7\t8\t9",
        b"7.0\t8",
        b"-7\t8",
        b"7\t8 ",
        b"7\tx",
        b"\xff",
        b"7\t" + b"9" * 19,
    ],
)
@pytest.mark.parametrize("lines_before", [0, 3, 40])
def test_malformed_index_line_is_named(line, lines_before, tmp_path, monkeypatch):
    monkeypatch.setattr(record_index, "CHUNK_BYTES", 64)
    rec = small_set(tmp_path)
    lines = [b"%d\t%d" % (n, n * 4) for n in range(lines_before)] + [line, b"99\t0", b"100\t0"]
    rec.with_suffix(".idx").write_bytes(b"\n".join(lines) + b"\n")
    with pytest.raises(RecordError, match=rf"train.idx: line {lines_before + 1} is .*re-copy"):
        RecordReader(rec)


@pytest.mark.parametrize(
    ("idx", "message"),
    [
        (b"", "train.idx: the index is empty"),
        (b"1\t0\n2\t0\n1\t0\n", "key 1 occurs more than once"),
        (b"1\t0\n2\t4000\n", r"train.rec key 2 at offset 4000: the index .* past the end"),
        (b"1\t0\n2\t4\n", r"key 2 at offset 4: no record begins at 4"),
        (b"1" * 200, "line 1 is"),
        (b"1\n0\n2\n4\n", "line 1 is"),
    ],
)
def test_wrong_index_is_refused(idx, message, tmp_path, monkeypatch):
    monkeypatch.setattr(record_index, "CHUNK_BYTES", 64)
    rec = small_set(tmp_path)
    rec.with_suffix(".idx").write_bytes(idx)
    with pytest.raises(RecordError, match=message):
        list(RecordReader(rec))


def test_cache_is_used_and_follows_its_files(tmp_path, monkeypatch):
    monkeypatch.setattr(record_index, "CACHE_FROM", 1)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user"))
    rec, cache = small_set(tmp_path), tmp_path / "train.idx.cache"
    first = RecordReader(rec)
    assert cache.exists()
    assert not (tmp_path / "user").exists()
    real_parse, parsed = record_index.parse_idx, []
    monkeypatch.setattr(record_index, "parse_idx", lambda idx: parsed.append(idx) or real_parse(idx))

    again = RecordReader(rec)
    assert parsed == []
    assert again.keys.tolist() == first.keys.tolist()
    assert again.offsets.tolist() == first.offsets.tolist()
    assert bytes(again.read(6).payload) == bytes(first.read(6).payload)

    for path in (rec, rec.with_suffix(".idx")):
        os.utime(path, ns=(0, path.stat().st_mtime_ns + 1))
        RecordReader(rec)
        assert len(parsed) == 1, f"a newer {path.name} must not be read through the old cache"
        parsed.clear()
    for damage in (cache.read_bytes()[:-8], b"short", b"x" * cache.stat().st_size):
        cache.write_bytes(damage)
        assert RecordReader(rec).offsets.tolist() == first.offsets.tolist()
        assert len(parsed) == 1
        parsed.clear()
    assert not list(tmp_path.glob("*.partial"))


def test_cache_moves_to_the_user_where_the_folder_cannot_be_written(tmp_path, monkeypatch):
    monkeypatch.setattr(record_index, "CACHE_FROM", 1)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user"))
    rec = small_set(tmp_path)
    (tmp_path / "train.idx.cache").mkdir()  # a name that cannot be replaced, also not by root
    offsets = RecordReader(rec).offsets.tolist()
    assert len(list((tmp_path / "user" / "arcscale").iterdir())) == 1
    assert not list(tmp_path.glob("*.partial"))
    monkeypatch.setattr(record_index, "parse_idx", None)
    assert RecordReader(rec).offsets.tolist() == offsets
    monkeypatch.undo()

    monkeypatch.setattr(record_index, "CACHE_FROM", 1)
    monkeypatch.setenv("XDG_CACHE_HOME", str(rec))  # a file: no cache is possible
    assert RecordReader(rec).offsets.tolist() == offsets


def test_images_end_where_the_identities_begin_although_the_header_is_rounded(tmp_path):
    first_identity = (1 << 24) + 3  # float32 makes it 2^24 + 4
    with RecordWriter(tmp_path / "a.rec") as writer:
        writer.write(0, b"", [first_identity, np.float32(first_identity + 4)])
        for key in range(first_identity - 6, first_identity):
            writer.write(key, b"image", 0)
        for key in range(first_identity, first_identity + 4):
            writer.write(key, b"", [0, 1])
    with RecordReader(tmp_path / "a.rec") as reader:
        assert reader.read(0).labels[0] == first_identity + 1
        assert reader.image_keys.tolist() == list(range(first_identity - 6, first_identity))
        assert reader.num_classes == 4


# --- damage -----------------------------------------------------------------------------------------------------------

WHOLE = frame(body())
DAMAGED = {
    "cut in the payload": (WHOLE[:-4], "past the end of the file"),
    "cut in the frame": (WHOLE[:6], "the file ends at 42"),
    "bad magic": (b"x" + WHOLE[1:], "no record begins at 36"),
    "short header": (frame(body()[:20]), "20 bytes are too few for the label header"),
    "labels do not fit": (frame(body(flag=2)), "2 labels are announced.*28 bytes"),
    "absurd label count": (frame(body(flag=0xFFFFFFFF)), "4294967295 labels are announced"),
    "starts in the middle": (frame(body(), 2), "part flag is 2: part of a split record"),
    "unknown part flag": (frame(body(), 5), "part flag is 5: unknown"),
    "chain without end": (frame(body(), 1), "the file ends at"),
    "chain broken by a record": (frame(body(), 1) + WHOLE, "lacks its last part"),
    "chain begun twice": (frame(body(), 1) + frame(body(), 1), "lacks its last part"),
    "odd part": (frame(body(payload=b"abc"), 1) + frame(b"", 3), "not a multiple of 4"),
    "NaN label": (frame(body(float("nan"))), "label nan is not a class"),
    "negative label": (frame(body(-1.0)), "label -1 is not a class"),
    "fractional label": (frame(body(1.5)), "label 1.5 is not a class"),
    "infinite label": (frame(body(float("inf"))), "label inf is not a class"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_damage_is_named_with_file_key_and_offset(name, tmp_path):
    data, message = DAMAGED[name]
    rec = write_files(tmp_path, WHOLE + data, b"5\t0\n17\t%d\n" % len(WHOLE))
    with RecordReader(rec) as reader:
        assert reader.read(5).label == 0
        where = rf"train\.rec key 17 at offset {len(WHOLE)}: "
        with pytest.raises(RecordError, match=where + f".*{message}.*; .*(re-copy|pack)") as raised:
            _ = reader.read(17).label
        assert "\n" not in str(raised.value)


@pytest.mark.parametrize(("content", "message"), [(None, "cannot be read .No such file"), (b"", "the file is empty")])
def test_missing_and_empty_file(content, message, tmp_path):
    if content is not None:
        write_files(tmp_path, content)
    with pytest.raises(RecordError, match=message):
        RecordReader(tmp_path / "train.rec")


@pytest.mark.parametrize("labels", [[0, 3], [1000, 3], [float("1e30"), 3]])
def test_header_that_does_not_fit_the_keys(labels, tmp_path):
    with RecordWriter(tmp_path / "a.rec") as writer:
        writer.write(0, b"", labels if labels[0] < 1 << 24 else [1 << 24, 3])
        writer.write(1, b"image", 0)
    with pytest.raises(RecordError, match="a.rec key 0 at offset 0: the header puts identities at key"):
        _ = RecordReader(tmp_path / "a.rec").image_keys


def mutate(data: bytes, rng: np.random.Generator) -> bytes:
    data = bytearray(data)
    a, b = sorted(rng.integers(0, len(data), 2).tolist())
    match rng.integers(0, 6):
        case 0:
            data[a] ^= 1 << int(rng.integers(0, 8))
        case 1:
            data[a] = int(rng.integers(0, 256))
        case 2:
            del data[a:]
        case 3:
            del data[a : min(b, a + 9)]
        case 4:
            data[a:a] = data[b : b + 12]
        case 5:
            word = rng.choice([b"\xff" * 4, bytes(4), MAGIC_BYTES, b"\0\0\xc0\x7f", b"\0\0\0\x60"])
            data[a // 4 * 4 : a // 4 * 4 + 4] = word
    return bytes(data)


def test_random_damage_gives_an_error_or_a_record_never_anything_else(tmp_path):
    """3,000 damaged pairs of files; slow ones would show as a hang of the whole test."""
    rec = small_set(tmp_path)
    idx = rec.with_suffix(".idx")
    good_rec, good_idx = rec.read_bytes(), idx.read_bytes()
    rng, slowest, refused, read = np.random.default_rng(2), 0.0, 0, 0
    for trial in range(3_000):
        rec.write_bytes(mutate(good_rec, rng) if trial % 3 else good_rec)
        idx.unlink(missing_ok=True)
        if trial % 5:
            idx.write_bytes(good_idx if trial % 3 else mutate(good_idx, rng))
        start = time.perf_counter()
        try:
            reader = RecordReader(rec)
            keys = reader.keys.tolist()
            assert len(reader.image_keys) <= len(keys)
        except RecordError:
            refused += 1
            continue
        for key in keys:
            try:
                record = reader.read(key)
                assert 0 <= record.label < 1 << 64
                assert len(record.payload) <= len(good_rec) + 12
                read += 1
            except RecordError:
                refused += 1
        reader.close()
        slowest = max(slowest, time.perf_counter() - start)
    assert slowest < 2
    assert refused > 600
    assert read > 6_000
