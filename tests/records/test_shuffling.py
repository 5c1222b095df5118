"""Shuffled copies: the same images, an even order that hangs on the seed alone, and memory with a bound."""

import os
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest

from recognition.data.recordio import RecordReader, RecordWriter
from recognition.errors import InputError
from recognition.records.packing import pack_folder
from recognition.records.shuffling import MOST_BUCKETS, shuffle
from recognition.records.verifying import verify
from tests.conftest import FIXTURES, ROOT
from tests.pictures import jpeg, write_people
from tests.records.sets import files_of, images_of, write_plain

HUGE = [(1 << 24) + 1, (1 << 33) + 7, 3]


@pytest.fixture
def packed(tmp_path):
    """InsightFace's layout: 30 images of three people, with names."""
    people = write_people(tmp_path / "people", {"anna": 14, "bert": 1, "carl": 15})
    pack_folder(people, tmp_path / "set")
    return tmp_path / "set"


# From one bucket to one image in each.
@pytest.mark.parametrize("memory_bytes", [1 << 30, 20_000, 5_000, 1_800])
def test_the_same_images_under_new_keys_and_no_identity_records(memory_bytes, packed, tmp_path):
    out = tmp_path / "out"
    shuffled = shuffle(packed / "train.rec", out, memory_bytes=memory_bytes)
    before, after = images_of(packed), images_of(out)
    assert Counter(before) == Counter(after)
    assert before != after
    assert (shuffled.num_images, shuffled.num_classes, shuffled.remarks) == (30, 3, ())
    assert set(os.listdir(out)) == {"identities.txt", "property", "train.crc", "train.idx", "train.rec"}
    assert (out / "identities.txt").read_text() == "anna\nbert\ncarl\n"
    assert (out / "property").read_text() == "3,16,16"
    with RecordReader(out / "train.rec") as reader:
        assert not reader.has_header
        assert reader.image_keys.tolist() == list(range(30))
        assert (np.diff(reader.offsets) > 0).all()
        assert [reader.read(key).id for key in range(30)] == list(range(30))
    assert verify(out / "train.rec").problems == []


def test_the_order_hangs_on_the_seed_and_not_on_the_memory(packed, tmp_path):
    for out, options in {"a": {}, "b": {"memory_bytes": 5_000}, "c": {"seed": 1}}.items():
        shuffle(packed / "train.rec", tmp_path / out, **options)
    a, b, c = (files_of(tmp_path / out) for out in "abc")
    assert a == b
    assert a["train.rec"] != c["train.rec"]


@pytest.mark.parametrize("layout", ["insightface", "im2rec", "vector_label"])
def test_files_by_mxnet(layout, tmp_path):
    rec = FIXTURES / "recordio" / layout / "train.rec"
    shuffled = shuffle(rec, tmp_path / "out", memory_bytes=5_000)
    seen = []
    for path in (rec, tmp_path / "out" / "train.rec"):
        with RecordReader(path) as reader:
            records = [reader.read(key) for key in reader.image_keys]
            seen.append(Counter((tuple(r.labels.tolist()), r.id2, bytes(r.payload)) for r in records))
            classes = reader.num_classes or 1 + max(record.label for record in records)
    assert seen[0] == seen[1]
    assert shuffled.num_classes == classes
    if layout == "im2rec":
        assert f"did not say how many identities it has: `property` now says {classes}" in shuffled.remarks[0]


def test_labels_beyond_float32_are_exact(tmp_path):
    write_plain(tmp_path / "set", [(label, jpeg(label)) for label in HUGE])
    with RecordWriter(tmp_path / "row" / "train.rec") as writer:
        for key, label in enumerate(HUGE):
            writer.write(key, jpeg(label), [label, 0.25, -7])
    for name in ("set", "row"):
        shuffle(tmp_path / name / "train.rec", tmp_path / f"{name}2")
        assert Counter(images_of(tmp_path / f"{name}2")) == Counter((label, jpeg(label)) for label in HUGE)
    with RecordReader(tmp_path / "row2" / "train.rec") as reader:
        assert {tuple(record.labels[1:]) for record in reader} == {(0.25, -7)}


def test_every_image_may_come_to_every_place(tmp_path):
    """Chi-square over 12 images and 12 places in the order of 100 seeds: rows and columns have fixed sums."""
    count, seeds = 12, 100
    write_plain(tmp_path / "set", [(number, jpeg(number)) for number in range(count)], classes=count)
    cells = np.zeros((count, count))
    for seed in range(seeds):
        shuffle(tmp_path / "set" / "train.rec", tmp_path / str(seed), seed=seed)
        with RecordReader(tmp_path / str(seed) / "train.rec") as reader:
            cells[reader.image_labels(), np.arange(count)] += 1
    assert (cells.sum(0) == seeds).all()
    assert (cells.sum(1) == seeds).all()
    freedom = (count - 1) ** 2
    chi_square = ((cells - seeds / count) ** 2 / (seeds / count)).sum() * (count - 1) / count
    assert abs(chi_square - freedom) < 4 * np.sqrt(2 * freedom)


@pytest.mark.parametrize("memory_bytes", [0, 1 << 12])
def test_too_little_memory_says_how_much_would_do(memory_bytes, tmp_path):
    images = [(0, jpeg(0)), *((0, bytes(10_000)) for _ in range(400))]
    write_plain(tmp_path / "set", images, classes=1)
    with pytest.raises(InputError, match=r"cannot be shuffled in 0 MiB; give at least 1 MiB"):
        shuffle(tmp_path / "set" / "train.rec", tmp_path / "out", memory_bytes=memory_bytes)
    assert MOST_BUCKETS * (1 << 20) / 2 > 4_000_000
    assert os.listdir(tmp_path) == ["set"]


def test_damage_leaves_nothing(packed, tmp_path):
    data = bytearray((packed / "train.rec").read_bytes())
    data[len(data) // 2] ^= 1
    (packed / "train.rec").write_bytes(data)
    with pytest.raises(InputError, match=r"train.rec key \d+ at offset \d+: the record is not the one"):
        shuffle(packed / "train.rec", tmp_path / "out")
    assert sorted(os.listdir(tmp_path)) == ["people", "set"]


def test_memory_is_bounded_whatever_the_size(tmp_path):
    """A set of 80 MB, shuffled in 8 MB by a process that says how much it had at most, mapped files too."""
    payload = jpeg(0)
    for name, count in (("small", 10), ("set", 5_000)):
        with RecordWriter(tmp_path / name / "train.rec") as writer:
            for key in range(count):
                writer.write(key, payload + key.to_bytes(8, "little") * 2_000, key % 7)
    assert (tmp_path / "set" / "train.rec").stat().st_size > 80_000_000
    # The small set first: what it takes is no matter of size.
    program = (
        "import re, sys\n"
        "from pathlib import Path\n"
        "from recognition.records.shuffling import shuffle\n"
        "for name in ('small', 'set'):\n"
        "    shuffle(f'{name}/train.rec', f'{name}2', memory_bytes=8 << 20)\n"
        "    print(re.search(r'VmHWM:\\s+(\\d+) kB', Path('/proc/self/status').read_text())[1])\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=environment, check=True, cwd=tmp_path
    )
    before_kib, after_kib = map(int, done.stdout.split())
    assert 2 << 10 < after_kib - before_kib < 8 << 10
    with RecordReader(tmp_path / "set2" / "train.rec") as reader:
        seen = sorted(int.from_bytes(reader.read(key).payload[-8:], "little") for key in reader.image_keys)
    assert seen == list(range(5_000))
