"""What holds for every kind of source: the same order, batches, labels, messages and hash, whatever the files are."""

import os
import re
import shutil
import threading
from collections import Counter

import numpy as np
import pytest
import torch

from recognition.data.loader import Loader
from recognition.data.order import sample_ids
from recognition.data.sources import open_source
from recognition.errors import InputError
from recognition.provenance import data_sha256
from recognition.runtime import Runtime
from tests.data.source_kinds import CLASSES, HUGGING_FACE, KINDS, LABELS, PICTURES, SHARDS, SIZE, STORED, make
from tests.data.source_kinds import hugging_face as hugging_face
from tests.pictures import jpeg, pil_pixels

EPOCH, SEED, B = len(PICTURES), 5, 6
FIELDS = ("images_BHWC", "labels_B", "ids_B", "epochs_B")
each_kind = pytest.mark.parametrize("kind", KINDS)
each_stored = pytest.mark.parametrize("kind", STORED)


@pytest.fixture
def kind_ready(request, kind):
    if kind in HUGGING_FACE:
        request.getfixturevalue("hugging_face")


@pytest.fixture
def source(kind_ready, kind, tmp_path):
    return make(kind, tmp_path / "set")


def stream(source, count, *, start=0, world=1, num_workers=0):
    """(pixels, label, id, epoch) tensors of `count` samples from position `start` on, of all ranks in their order."""
    steps = -(-count // (B // world * world))
    ranks = [
        list(
            Loader(
                source,
                batch_size=B // world,
                runtime=Runtime(rank=rank, world=world),
                seed=SEED,
                num_workers=num_workers,
                start_position=start,
                num_steps=steps,
                image_size=SIZE,
            )
        )
        for rank in range(world)
    ]
    return [torch.cat([getattr(batch, field) for step in zip(*ranks) for batch in step])[:count] for field in FIELDS]


def assert_equal(found, expected):
    for ours, theirs, field in zip(found, expected, FIELDS):
        assert ours.equal(theirs), field


@each_kind
def test_length_classes_and_labels(source, kind):
    assert len(source) == EPOCH
    assert source.num_classes == CLASSES
    read = [source.read(index).label for index in range(EPOCH)]
    labels = source.labels()
    assert labels.dtype == np.int64
    assert labels.tolist() == read
    if kind in STORED:
        assert read == LABELS


@each_kind
def test_each_sample_comes_once_an_epoch_whole_and_in_order(source):
    pixels, labels, ids, epochs = stream(source, 2 * EPOCH)
    expected = sample_ids(np.arange(2 * EPOCH), num_samples=EPOCH, seed=SEED)
    assert ids.tolist() == expected.tolist()
    for epoch in (ids[:EPOCH], ids[EPOCH:]):
        assert Counter(epoch.tolist()) == Counter(range(EPOCH))
    assert epochs.tolist() == [0] * EPOCH + [1] * EPOCH
    for picture, label, index in zip(pixels.numpy(), labels.tolist(), ids.tolist()):
        sample = source.read(index)
        shown = sample.payload if isinstance(sample.payload, np.ndarray) else pil_pixels(sample.payload)
        np.testing.assert_array_equal(picture, shown)
        assert label == sample.label


@each_kind
@pytest.mark.parametrize("world", [1, 2, 3])
@pytest.mark.parametrize("num_workers", [0, 2])
def test_batches_are_the_same_for_any_ranks_and_threads(source, world, num_workers):
    assert_equal(stream(source, 48, world=world, num_workers=num_workers), stream(source, 48))


@each_kind
def test_resumed_at_any_position_the_rest_is_the_same(source):
    whole = stream(source, 2 * EPOCH)
    for position in range(1, 2 * EPOCH):
        rest = stream(source, 2 * EPOCH - position, start=position)
        assert_equal(rest, [values[position:] for values in whole])


@each_kind
def test_eight_threads_read_what_one_reads(source):
    def content(sample):
        return bytes(memoryview(sample.payload).cast("B")), sample.label

    expected = [content(source.read(index)) for index in range(EPOCH)]
    found, barrier = [], threading.Barrier(8)

    def read_all(seed):
        order = np.random.default_rng(seed).permutation(EPOCH).tolist() * 5
        barrier.wait()
        found.append(all(content(source.read(index)) == expected[index] for index in order))

    threads = [threading.Thread(target=read_all, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [True] * 8


@each_kind
def test_description_names_a_file_and_a_place_of_its_own(source, kind):
    texts = [source.describe(index) for index in range(EPOCH)]
    assert len(set(texts)) == EPOCH
    for text in texts:
        if kind == "synthetic":
            assert re.fullmatch(r"synthetic image \d+", text)
        else:
            file = re.sub(r"( (key|member|row) \S+)?( at offset \d+)?$", "", text)
            assert os.path.isfile(file), text


@each_stored
def test_described_offsets_and_rows_are_those_of_the_picture(source, kind, hugging_face_rows):
    for index, (_, payload) in enumerate(PICTURES):
        text = source.describe(index)
        if " at offset " in text:
            path, offset = re.fullmatch(r"(\S+) .*at offset (\d+)", text).groups()
            with open(path, "rb") as file:
                file.seek(int(offset))
                assert payload in file.read(len(payload) + 64)
        elif " row " in text:
            path, row = text.split(" row ")
            assert hugging_face_rows(path)[int(row)] == payload
        else:
            with open(text, "rb") as file:
                assert file.read() == payload


@pytest.fixture
def hugging_face_rows(kind, kind_ready):
    def rows(path):
        import datasets

        opened = datasets.Dataset.from_parquet if path.endswith(".parquet") else datasets.Dataset.from_file
        plain = opened(path).cast_column("image", datasets.Image(decode=False))
        return [row["image"]["bytes"] for row in plain]

    return rows


@each_stored
def test_a_picture_that_is_none_is_an_error_that_names_its_place(kind, kind_ready, tmp_path):
    pictures = list(PICTURES)
    pictures[9] = (pictures[9][0], pictures[9][1][:40])
    source = make(kind, tmp_path / "set", pictures)
    with pytest.raises(InputError) as caught:
        stream(source, EPOCH)
    assert str(caught.value).startswith(source.describe(9) + ": not a readable JPEG")


@each_stored
def test_a_file_cut_in_half_is_an_error_that_names_it(kind, kind_ready, tmp_path):
    make(kind, tmp_path / "set")
    suffix = {"folder": ".jpg", "list": ".jpg", "parquet": ".parquet", "saved": ".arrow"}.get(kind)
    suffix = suffix or (".rec" if kind.startswith("record") else ".tar")
    files = sorted(path for path in (tmp_path / "set").rglob("*") if path.suffix == suffix)
    target = files[-1]
    target.write_bytes(target.read_bytes()[: target.stat().st_size // 2])
    with pytest.raises(InputError) as caught:
        stream(reopen(kind, tmp_path / "set"), EPOCH)
    assert str(target) in str(caught.value)
    assert ";" in str(caught.value), "an error says what to do"


def reopen(kind, root):
    """The source of that kind whose files lie below `root` already."""
    rec = {
        "record list": [str(root / name) for name in "abc"],
        "list": root / "train.lst",
        "pattern": f"{root}/train-{{000000..000002}}.tar",
        "saved": root / "saved",
    }
    return open_source(rec.get(kind, root))


@each_stored
def test_hash_follows_the_content_not_the_place(kind, kind_ready, tmp_path):
    expected = data_sha256(make(kind, tmp_path / "here"))
    assert expected is not None
    shutil.move(tmp_path / "here", tmp_path / "there")
    assert data_sha256(reopen(kind, tmp_path / "there")) == expected

    def changed(name, index, label, payload):
        pictures = list(PICTURES)
        pictures[index] = (label, payload)
        return data_sha256(make(kind, tmp_path / name, pictures))

    label, payload = PICTURES[-1]
    others = [
        changed("label", 21, label - 1, payload),
        changed("picture", 21, label, jpeg(77, SIZE)),
        data_sha256(make(kind, tmp_path / "fewer", PICTURES[:-1])),
    ]
    assert len({expected, *others}) == 4


@each_stored
def test_the_same_pictures_give_the_same_batches_in_all_kinds(source, tmp_path):
    assert_equal(stream(source, 2 * EPOCH, num_workers=2), stream(make("folder", tmp_path / "plain"), 2 * EPOCH))


def test_shards_are_uneven():
    assert sorted(len(PICTURES[part]) for part in SHARDS) == [1, 7, 14]
