"""Merged sets against what joining by hand gives, image by image, and the lists beside them against plain counting."""

import csv
import os
from functools import partial

import pytest

from recognition.data.recordio import RecordReader, RecordWriter
from recognition.errors import InputError
from recognition.records.joining import apart, by_name, by_table
from recognition.records.merging import merge
from recognition.records.packing import pack_folder
from recognition.records.shuffling import shuffle
from recognition.records.splitting import split
from recognition.records.verifying import verify
from tests.conftest import FIXTURES
from tests.pictures import jpeg
from tests.records.sets import files_of, images_of, write_plain

ONE, TWO = {"anna": 3, "bert": 1, "carl": 2}, {"anna": 2, "bob": 1, "carl": 1}


@pytest.fixture
def sets(tmp_path):
    """Two packed sets with two names in common and no image."""
    folders = []
    for name, people, first in (("one", ONE, 0), ("two", TWO, 100)):
        for person, count in people.items():
            (tmp_path / name / "people" / person).mkdir(parents=True)
            for number in range(count):
                (tmp_path / name / "people" / person / f"{number}.jpg").write_bytes(jpeg(first))
                first += 1
        pack_folder(tmp_path / name / "people", tmp_path / name)
        folders.append(tmp_path / name)
    return folders


def recs(folders):
    return [folder / "train.rec" for folder in folders]


def rows_of(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def expected(folders, new_labels):
    """(label, image) of the sets, relabelled and sorted by label, the order being theirs otherwise."""
    images = [(table[label], image) for folder, table in zip(folders, new_labels) for label, image in images_of(folder)]
    return sorted((pair for pair in images if pair[0] is not None), key=lambda pair: pair[0])


APART = [[0, 1, 2], [3, 4, 5]]
BY_NAME = [[0, 1, 2], [0, 3, 2]]
TABLE = [[1, None, 0], [2, 1, 0]]


def write_map(path, lines, header="set,label,new_label"):
    path.write_text("\n".join([header, *lines]) + "\n")
    return path


@pytest.mark.parametrize(
    ("how", "new_labels", "names"),
    [
        ("apart", APART, ["anna", "bert", "carl", "anna~2", "bob", "carl~2"]),
        ("by-name", BY_NAME, ["anna", "bert", "carl", "bob"]),
        ("table", TABLE, ["carl", "anna", "anna~2"]),
    ],
)
def test_merged_sets_are_those_joined_by_hand(how, new_labels, names, sets, tmp_path):
    lines = ["1,0,1", "one,1,", "1,2,0", "two,0,2", "2,1,1", "2,2,0"]
    join = {"apart": apart, "by-name": by_name}.get(how) or partial(by_table, path=write_map(tmp_path / "m.csv", lines))
    merged = merge(recs(sets), tmp_path / "out", join=join)
    images = expected(sets, new_labels)
    assert images_of(tmp_path / "out") == images
    assert (merged.num_images, merged.num_classes) == (len(images), len(names))
    assert (tmp_path / "out" / "identities.txt").read_text().splitlines() == names
    assert (tmp_path / "out" / "property").read_text() == f"{len(names)},16,16"
    assert verify(tmp_path / "out" / "train.rec").problems == []
    with RecordReader(tmp_path / "out" / "train.rec") as reader:
        assert reader.has_header
    assert not (tmp_path / "out" / "duplicates.csv").exists()
    seen = {(row["set"], int(row["old_label"])): row for row in rows_of(tmp_path / "out" / "sources.csv")}
    wanted = {}
    for folder, table, people in zip(sets, new_labels, (ONE, TWO)):
        for old, (new, count) in enumerate(zip(table, people.values())):
            if new is not None:
                wanted[str(folder / "train.rec"), old] = (str(new), str(count), names[new])
    assert {place: (row["label"], row["images"], row["name"]) for place, row in seen.items()} == wanted
    assert [int(row["label"]) for row in seen.values()] == sorted(int(row["label"]) for row in seen.values())


def test_one_set_merged_alone_is_the_set(sets, tmp_path):
    merge(recs(sets[:1]), tmp_path / "out")
    merged = files_of(tmp_path / "out")
    assert {name: merged[name] for name in ("train.rec", "train.idx", "train.crc", "property", "identities.txt")} == {
        name: (sets[0] / name).read_bytes() for name in merged if name != "sources.csv"
    }


def test_a_table_may_give_names(sets, tmp_path):
    lines = ["1,0,zoe", "1,1,bert", "1,2,carl", "2,0,zoe", "2,1,", "2,2,zoe"]
    table = write_map(tmp_path / "m.csv", lines, "set,label,name")
    merge(recs(sets), tmp_path / "out", join=partial(by_table, path=table))
    assert images_of(tmp_path / "out") == expected(sets, [[0, 1, 2], [0, None, 0]])
    assert (tmp_path / "out" / "identities.txt").read_text().splitlines() == ["zoe", "bert", "carl"]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["1,0,0"], "has no row for label 1 of .*one/train.rec, nor for 1 more"),
        (["1,0,0", "1,0,1"], "line 3: label 0 of .*one/train.rec was in line 2 already"),
        (["3,0,0"], "line 2: set '3' is none of 1 to 2"),
        (["three,0,0"], "line 2: set 'three' is none of 1 to 2"),
        (["1,3,0"], "line 2: label 3 is not one of the 3 of"),
        (["1,x,0"], "line 2: label 'x' is no whole number"),
        (["1,0,x"], "line 2: new_label 'x' is no whole number"),
        (["1,0,0", "1,1,2", "1,2,2", "2,0,2", "2,1,2", "2,2,2"], "no identity gets label 1"),
        (["1,0,", "1,1,", "1,2,", "2,0,", "2,1,", "2,2,"], "no identity gets label 0"),
    ],
)
def test_bad_tables(lines, message, sets, tmp_path):
    table = write_map(tmp_path / "m.csv", lines)
    with pytest.raises(InputError, match=f"m.csv.*{message}"):
        merge(recs(sets), tmp_path / "out", join=partial(by_table, path=table))
    assert not list(tmp_path.glob("out*"))


@pytest.mark.parametrize(
    ("header", "line", "message"),
    [("a,b", "1,2", "line 1: expected a header"), ("set,label,name", "1,0,a/b", "line 2: name 'a/b', which cannot")],
)
def test_bad_headers_and_names(header, line, message, sets, tmp_path):
    table = write_map(tmp_path / "m.csv", [line], header)
    with pytest.raises(InputError, match=message):
        merge(recs(sets), tmp_path / "out", join=partial(by_table, path=table))


def test_by_name_needs_names(sets, tmp_path):
    (sets[1] / "identities.txt").write_text("anna\nbob\n")
    with pytest.raises(InputError, match=r"two/identities.txt: has 2 lines for 3 identities"):
        merge(recs(sets), tmp_path / "out", join=by_name)
    (sets[1] / "identities.txt").unlink()
    with pytest.raises(InputError, match=r"two/identities.txt: is not there"):
        merge(recs(sets), tmp_path / "out", join=by_name)


def test_a_set_without_names_beside_one_with_them(sets, tmp_path):
    (sets[1] / "identities.txt").unlink()
    merge(recs(sets), tmp_path / "a")
    names = ["anna", "bert", "carl", "set2_0000000", "set2_0000001", "set2_0000002"]
    assert (tmp_path / "a" / "identities.txt").read_text().splitlines() == names
    (sets[0] / "identities.txt").unlink()
    merge(recs(sets), tmp_path / "b")
    assert not (tmp_path / "b" / "identities.txt").exists()


@pytest.fixture
def alike(tmp_path):
    """Two sets, some of whose images are the same: within one, across, under another label; `b`'s label 1 is all so."""
    a = write_plain(tmp_path / "a", [(1, jpeg(1)), (0, jpeg(2)), (0, jpeg(3)), (1, jpeg(1))], classes=2)
    b = write_plain(tmp_path / "b", [(0, jpeg(4)), (1, jpeg(3)), (0, jpeg(5)), (1, jpeg(1)), (0, jpeg(4))], classes=2)
    return [a, b]


def test_duplicates_are_listed_with_the_first_of_them(alike, tmp_path):
    merged = merge(recs(alike), tmp_path / "out")
    assert images_of(tmp_path / "out") == expected(alike, [[0, 1], [2, 3]])
    a, b = (str(rec) for rec in recs(alike))
    columns = ["set", "key", "label", "new_label", "first_set", "first_key", "first_label", "first_new_label"]
    wanted = [
        [a, "3", "1", "1", a, "0", "1", "1"],
        [b, "1", "1", "3", a, "2", "0", "0"],
        [b, "3", "1", "3", a, "0", "1", "1"],
        [b, "4", "0", "2", b, "0", "0", "2"],
    ]
    assert rows_of(tmp_path / "out" / "duplicates.csv") == [dict(zip(columns, row)) for row in wanted]
    assert "4 images have the bytes of an earlier one, 2 of them under another identity" in merged.remarks[1]
    assert "--drop-duplicates leaves them out" in merged.remarks[1]


def test_duplicates_in_folders_whose_names_are_no_text_are_listed(alike, tmp_path):
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    alike[0].rename(folder)
    merge([folder / "train.rec", alike[1] / "train.rec"], tmp_path / "out")
    for name in ("duplicates.csv", "sources.csv"):
        assert b"caf\xe9/train.rec" in (tmp_path / "out" / name).read_bytes(), name


def test_dropping_duplicates_keeps_the_first_and_all_labels(alike, tmp_path):
    merged = merge(recs(alike), tmp_path / "out", drop_duplicates=True)
    assert images_of(tmp_path / "out") == [(0, jpeg(2)), (0, jpeg(3)), (1, jpeg(1)), (2, jpeg(4)), (2, jpeg(5))]
    assert (merged.num_images, merged.num_classes) == (5, 4)
    assert len(rows_of(tmp_path / "out" / "duplicates.csv")) == 4
    assert [row["images"] for row in rows_of(tmp_path / "out" / "sources.csv")] == ["2", "1", "2", "0"]
    assert "1 of 4 identities have no image: 3; they keep their labels" in merged.remarks
    assert verify(tmp_path / "out" / "train.rec").problems == []


def test_the_first_is_that_of_the_first_set_whatever_the_new_labels(alike, tmp_path):
    """Set b's identities come before set a's: what both have is kept in a all the same."""
    table = write_map(tmp_path / "m.csv", ["b,0,0", "b,1,1", "a,0,2", "a,1,3"])
    merge(recs(alike), tmp_path / "out", join=partial(by_table, path=table), drop_duplicates=True)
    assert images_of(tmp_path / "out") == [(0, jpeg(4)), (0, jpeg(5)), (2, jpeg(2)), (2, jpeg(3)), (3, jpeg(1))]


def test_sets_of_other_sizes_and_folders_that_are_there(sets, tmp_path):
    write_plain(tmp_path / "large", [(0, jpeg(0, 24))], classes=1)
    with pytest.raises(
        InputError, match=r"large/train.rec: its images are 24x24 pixels, those of .*one/train.rec are 16"
    ):
        merge([*recs(sets), tmp_path / "large" / "train.rec"], tmp_path / "out")
    with pytest.raises(InputError, match="two: already exists"):
        merge(recs(sets), sets[1])
    assert not (tmp_path / "out").exists()
    assert not list(tmp_path.glob("*.partial"))


def test_sets_by_mxnet_with_shuffled_labels(tmp_path):
    layouts = [FIXTURES / "recordio" / name for name in ("insightface", "im2rec")]
    merged = merge(recs(layouts), tmp_path / "out")
    classes = [1 + max(label for label, _ in images_of(folder)) for folder in layouts]
    assert merged.num_classes == sum(classes)
    new_labels = [list(range(classes[0])), list(range(classes[0], sum(classes)))]
    assert images_of(tmp_path / "out") == expected(layouts, new_labels)


def test_identities_beyond_the_number_that_property_says(tmp_path):
    write_plain(tmp_path / "a", [(0, jpeg(0)), (5, jpeg(1))], classes=5)
    with pytest.raises(InputError, match="key 1 at offset .*: label 5 is outside the 5 classes"):
        merge(recs([tmp_path / "a"]), tmp_path / "out")


@pytest.mark.parametrize("use", [lambda rec, out: merge([rec], out), shuffle, partial(split, share=0.5)])
def test_a_set_without_images(use, tmp_path):
    with RecordWriter(tmp_path / "train.rec") as writer:
        writer.write(0, b"", [3, 4])
        writer.write(3, b"", [1, 1])
    with pytest.raises(InputError, match="train.rec: holds no image records"):
        use(tmp_path / "train.rec", tmp_path / "out")
