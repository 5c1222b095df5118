"""Sources: what they hold, in which order, and what they say when a user points them at the wrong thing."""

from pathlib import Path

import numpy as np
import pytest

from recognition.data.recordio import RecordReader, RecordWriter
from recognition.data.sources import ListSource, RecordSource, open_source
from recognition.data.sources.files import read_image_file
from recognition.errors import InputError
from tests.conftest import FIXTURES
from tests.data.source_kinds import error_of
from tests.pictures import encoded

RECORDS = FIXTURES / "recordio"


def jpeg(grey):
    return encoded(np.full((112, 112, 3), grey, np.uint8))


def write_image(path, grey):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(jpeg(grey))


def write_records(folder, labels, *, prop=None):
    folder.mkdir(parents=True, exist_ok=True)
    with RecordWriter(folder / "train.rec", folder / "train.idx") as writer:
        for key, label in enumerate(labels):
            writer.write(key, jpeg(key), label)
    if prop is not None:
        (folder / "property").write_text(f"{prop},112,112")
    return folder


def test_records_leave_out_header_and_identity_records():
    source = open_source(RECORDS / "insightface")
    reader = RecordReader(RECORDS / "insightface" / "train.rec")
    assert len(source) == len(reader.image_keys) == 24 < len(reader)
    assert source.num_classes == 6
    for index, key in enumerate(range(1, 25)):
        sample, record = source.read(index), reader.read(key)
        assert bytes(sample.payload) == bytes(record.payload)
        assert sample.label == int(record.labels[0])
    offset = reader.offset(3)
    assert source.describe(2) == f"{RECORDS / 'insightface' / 'train.rec'} key 3 at offset {offset}"


def test_a_rec_file_may_be_named_itself():
    assert len(open_source(RECORDS / "im2rec" / "train.rec", num_classes=6)) == 24


def test_num_classes_may_exceed_the_data_but_not_fall_short():
    assert open_source(RECORDS / "insightface", num_classes=10).num_classes == 10
    message = error_of(open_source, RECORDS / "insightface", num_classes=5)
    assert "holds 6 identities, but num_classes=5" in message


def test_unknown_number_of_classes_is_an_error(tmp_path):
    folder = write_records(tmp_path / "set", [0, 1])
    assert "set num_classes" in error_of(open_source, folder)
    assert open_source(folder, num_classes=2).num_classes == 2


def test_label_beyond_num_classes_names_file_key_and_label(tmp_path):
    source = RecordSource(write_records(tmp_path / "set", [0, 7], prop=2) / "train.rec")
    assert source.read(0).label == 0
    message = error_of(source.read, 1)
    assert "train.rec key 1 at offset" in message
    assert "label 7 is outside the 2 classes" in message


@pytest.mark.parametrize("label", [-1.0, 0.5])
def test_label_that_is_no_class_is_an_error(tmp_path, label):
    source = RecordSource(write_records(tmp_path / "set", [label], prop=2) / "train.rec")
    assert "key 0" in error_of(source.read, 0)


def test_folders_are_labelled_in_the_order_of_their_names(tmp_path):
    write_image(tmp_path / "bob" / "2.jpg", 3)
    write_image(tmp_path / "bob" / "1.JPG", 2)
    write_image(tmp_path / "ann" / "deeper" / "x.png", 1)
    write_image(tmp_path / ".hidden" / "x.jpg", 9)
    write_image(tmp_path / "ann" / ".x.jpg", 9)
    (tmp_path / "bob" / "notes.txt").write_text("no image")
    source = open_source(tmp_path)
    assert source.num_classes == 2
    assert [Path(source.describe(i)).relative_to(tmp_path).as_posix() for i in range(len(source))] == [
        "ann/deeper/x.png",
        "bob/1.JPG",
        "bob/2.jpg",
    ]
    assert [source.read(i).label for i in range(3)] == [0, 1, 1]
    assert source.read(2).payload == jpeg(3)


def test_file_that_vanished_is_named(tmp_path):
    write_image(tmp_path / "ann" / "1.jpg", 1)
    source = open_source(tmp_path)
    (tmp_path / "ann" / "1.jpg").unlink()
    assert str(tmp_path / "ann" / "1.jpg") in error_of(source.read, 0)


@pytest.mark.parametrize(
    "lines",
    [
        "0\t4.000000\ta/1.jpg\n7\t0\tb 2.jpg\n",
        "1\ta/1.jpg\t4\n1\tb 2.jpg\t0\n",
        "1\ta/1.jpg\t4\t10\t20\t30\t40\n\n1\tb 2.jpg\t0\n",
        "0\t4.0\t0.5\t0.25\ta/1.jpg\r\n7\t0\tb 2.jpg\r\n",
    ],
    ids=["im2rec", "face2rec", "face2rec with boxes", "im2rec with more labels"],
)
def test_lists_of_both_kinds(tmp_path, lines):
    write_image(tmp_path / "a" / "1.jpg", 1)
    write_image(tmp_path / "b 2.jpg", 2)
    (tmp_path / "train.lst").write_text(lines)
    source = open_source(tmp_path / "train.lst")
    assert [(source.read(i).label, source.read(i).payload) for i in range(2)] == [(4, jpeg(1)), (0, jpeg(2))]
    assert source.num_classes == 5


def test_a_list_is_read_in_the_order_of_its_lines(tmp_path):
    """Not in that of paths or labels: whoever shuffled it meant it."""
    (tmp_path / "train.lst").write_text("0\t1\tc.jpg\n1\t2\ta.jpg\n2\t0\tb.jpg\n")
    source = open_source(tmp_path / "train.lst")
    assert [Path(source.describe(i)).name for i in range(3)] == ["c.jpg", "a.jpg", "b.jpg"]
    assert source.labels().tolist() == [1, 2, 0]


@pytest.mark.parametrize(
    "line", ["1\tface.jpg", "face.jpg", "0\t-1\tface.jpg", "0\t1.5\tface.jpg", "a\tb\tc", "0\tnan\tx.jpg"]
)
def test_wrong_list_lines_are_numbered(tmp_path, line):
    lst = tmp_path / "train.lst"
    lst.write_text(f"0\t0\tgood.jpg\n{line}\n")
    assert f"{lst} line 2" in error_of(ListSource, lst)


def test_synthetic_is_as_large_as_asked():
    source = open_source("synthetic", num_classes=30_000_000, num_image=100_000_000, image_size=32)
    assert len(source) == 100_000_000
    assert source.read(99_999_999).label == 99_999_999 % 30_000_000
    assert len(open_source("synthetic", num_classes=10, num_image=0)) == 1_000_000
    assert "num_classes" in error_of(open_source, "synthetic")


def empty(path):
    return path


def without_folders(path):
    write_image(path / "1.jpg", 0)
    return path


def with_an_empty_identity(path):
    write_image(path / "ann" / "1.jpg", 0)
    (path / "bob").mkdir()
    return path


def with_index_only(path):
    (path / "train.idx").write_text("0\t0\n")
    return path


def with_empty_records(path):
    (path / "train.rec").write_bytes(b"")
    (path / "train.idx").write_text("0\t0\n")
    return path


def with_header_and_identities_only(path):
    with RecordWriter(path / "train.rec", path / "train.idx") as writer:
        writer.write(0, b"", np.array([2, 3], np.float32))
        writer.write(2, b"", np.array([1, 2], np.float32))
    return path


def text_file(path):
    (path / "train.txt").write_text("hello")
    return path / "train.txt"


def table(path):
    (path / "train.csv").write_text("path,label\n")
    return path / "train.csv"


def empty_list(path):
    (path / "train.lst").write_text("\n")
    return path / "train.lst"


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path: path / "absent", "does not exist"),
        (empty, "holds neither train.rec nor"),
        (without_folders, "its images, 1.jpg the first, lie in no folder per identity; sort them"),
        (with_an_empty_identity, "an identity without images"),
        (with_index_only, "no train.rec"),
        (with_empty_records, "train.rec"),
        (with_header_and_identities_only, "holds no image records"),
        (table, "launch/records.py pack"),
        (text_file, "neither a .rec nor a .lst"),
        (empty_list, "the list is empty"),
    ],
)
def test_wrong_places_are_explained(tmp_path, make, words):
    message = error_of(open_source, make(tmp_path), num_classes=10)
    assert words in message
    assert str(tmp_path) in message


@pytest.mark.parametrize(("path", "reason"), [("absent.jpg", "No such file"), ("a\0b.jpg", "embedded null byte")])
def test_a_file_that_cannot_be_read_is_named(path, reason):
    with pytest.raises(InputError, match=rf"{path}: cannot be read \({reason}.*restore the file or leave it out"):
        read_image_file(path)
