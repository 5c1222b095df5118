"""Where records begin: the index file, its cache, and where the images among them end."""

import os

import numpy as np
import pytest

from recognition.data import record_index
from recognition.data.recordio import RecordError, RecordReader, RecordWriter
from tests.data.small_records import small_set


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
    rec = small_set(tmp_path, checks=False)
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
    rec = small_set(tmp_path, checks=False)
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
    rec = small_set(tmp_path, checks=False)
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


@pytest.mark.parametrize("labels", [[0, 3], [1000, 3], [float("1e30"), 3]])
def test_header_that_does_not_fit_the_keys(labels, tmp_path):
    with RecordWriter(tmp_path / "a.rec") as writer:
        writer.write(0, b"", labels if labels[0] < 1 << 24 else [1 << 24, 3])
        writer.write(1, b"image", 0)
    with pytest.raises(RecordError, match="a.rec key 0 at offset 0: the header puts identities at key"):
        _ = RecordReader(tmp_path / "a.rec").image_keys
