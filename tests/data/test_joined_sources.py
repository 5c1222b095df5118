"""Several files as one set: which files a user means, in which order, and whose label is whose."""

import re
import resource
from pathlib import Path

import pytest

from recognition.data.sources import JoinedSource, SyntheticSource, open_source, rec_folder
from recognition.data.sources import opening as module
from recognition.data.sources.shards import expand, rec_entries, shards_in
from tests.data.source_kinds import (
    CLASSES,
    LABELS,
    PICTURES,
    SHARDS,
    SIZE,
    content,
    error_of,
    write_folders,
    write_records,
    write_tar,
)
from tests.pictures import jpeg


def touch(folder, *names):
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).touch()
    return folder


def names(paths):
    return [path.name for path in paths]


# ---- What one text means --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rec", "entries"),
    [
        ("a", ["a"]),
        ("a,b", ["a", "b"]),
        (" a , b,", ["a", "b"]),
        ("s/{a,b}.tar,c", ["s/{a,b}.tar", "c"]),
        (["a,b", Path("c")], ["a,b", "c"]),
        (("a",), ["a"]),
        (Path("a"), ["a"]),
        (",", [","]),
    ],
)
def test_entries_of_rec(rec, entries, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert rec_entries(rec) == entries


def test_a_path_with_a_comma_is_one_entry(tmp_path):
    write_records(tmp_path / "a,b" / "train.rec", PICTURES)
    assert rec_entries(str(tmp_path / "a,b")) == [str(tmp_path / "a,b")]
    assert len(open_source(str(tmp_path / "a,b"))) == len(PICTURES)


def test_a_path_with_braces_or_stars_is_itself(tmp_path):
    for name in ("{0..1}.tar", "a*.tar"):
        write_tar(tmp_path / name, PICTURES[:2])
        assert expand(str(tmp_path / name)) == [tmp_path / name]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("t-{08..11}.tar", ["t-08.tar", "t-09.tar", "t-10.tar", "t-11.tar"]),
        ("t-{8..11}.tar", ["t-8.tar", "t-9.tar", "t-10.tar", "t-11.tar"]),
        ("{b,a}-{0..1}.tar", ["b-0.tar", "b-1.tar", "a-0.tar", "a-1.tar"]),
        ("t-{5..5}.tar", ["t-5.tar"]),
    ],
)
def test_braces_count_as_a_shell_does(tmp_path, pattern, expected):
    touch(tmp_path, *expected)
    assert names(expand(f"{tmp_path}/{pattern}")) == expected


def test_stars_are_in_the_order_of_the_names(tmp_path):
    touch(tmp_path, "b.tar", "a.tar", "c.rec")
    assert names(expand(f"{tmp_path}/*.tar")) == ["a.tar", "b.tar"]
    assert names(expand(f"{tmp_path}/?.rec")) == ["c.rec"]


def test_patterns_that_are_wrong_are_explained(tmp_path):
    touch(tmp_path, "t-0.tar", "t-2.tar")
    message = error_of(expand, f"{tmp_path}/t-{{0..3}}.tar")
    assert f"2 of 4 files do not exist, the first is {tmp_path}/t-1.tar" in message
    assert "matches nothing" in error_of(expand, f"{tmp_path}/*.rec")
    assert "does not exist" in error_of(expand, f"{tmp_path}/absent")
    for braces in ("{3..0}", "{0..99999999999}", "{0..9999}{0..9999}"):
        assert "correct the braces" in (text := error_of(expand, f"{tmp_path}/{braces}")) or "{FIRST..LAST}" in text


def test_the_folder_of_rec_is_where_verification_sets_lie(tmp_path, monkeypatch):
    monkeypatch.chdir(touch(tmp_path, "train.rec"))
    (tmp_path / "sub").mkdir()
    for rec, folder in {
        str(tmp_path): tmp_path,
        str(tmp_path / "train.rec"): tmp_path,
        f"{tmp_path}/sub,{tmp_path}": tmp_path / "sub",
        f"{tmp_path}/sub/t-{{0..3}}.tar": tmp_path / "sub",
        "synthetic": Path("."),
    }.items():
        assert rec_folder(rec) == folder
    assert rec_folder([tmp_path / "sub", "b"]) == tmp_path / "sub"


# ---- The shards of a folder -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("present", "expected"),
    [
        (["train-000.rec", "train-001.rec"], ["train-000.rec", "train-001.rec"]),
        (["t9.rec", "t10.rec", "t8.rec"], ["t8.rec", "t9.rec", "t10.rec"]),
        (["train_1.rec", "train_2.rec"], ["train_1.rec", "train_2.rec"]),
        (["00.rec", "01.rec", ".02.rec"], ["00.rec", "01.rec"]),
        (["train-00000-of-00002.rec", "train-00001-of-00002.rec"],) * 2,
        (["train-0.rec", "train-1.rec", "val-0.rec", "lfw.rec"], ["train-0.rec", "train-1.rec"]),
        (["faces.rec"], ["faces.rec"]),
        (["notes.txt", "a.tar"], []),
    ],
)
def test_shards_of_a_folder(tmp_path, present, expected):
    assert names(shards_in(touch(tmp_path, *present), ".rec")) == expected


@pytest.mark.parametrize(
    ("present", "words"),
    [
        (["t-0.tar", "t-1.tar", "t-3.tar", "t-6.tar"], "shard 2 is missing (there are 4, from t-0.tar to t-6.tar)"),
        (["t-00000-of-00003.tar", "t-00001-of-00003.tar"], "shard 2 is missing"),
        (["t-00001-of-00003.tar", "t-00002-of-00003.tar"], "shard 0 is missing"),
        (["t-0-of-2.tar", "t-1-of-2.tar", "t-2-of-2.tar"], "there are more than 2 shards"),
        (["t-0.tar", "t-00.tar"], "t-00.tar has the number of another shard"),
        (["a-0.tar", "b-0.tar"], "a-0.tar and b-0.tar, which do not look like shards of one set"),
        (["a.tar", "b.tar"], "name those you mean"),
    ],
)
def test_shards_that_are_no_set_are_errors(tmp_path, present, words):
    message = error_of(shards_in, touch(tmp_path, *present), ".tar")
    assert str(tmp_path) in message
    assert words in message


# ---- Opening --------------------------------------------------------------------------------------------------------


def test_sets_in_a_list_in_text_and_in_a_pattern_are_joined_in_their_order(tmp_path):
    folders = [tmp_path / name for name in "cab"]
    for folder, part in zip(folders, SHARDS):
        write_records(folder / "train.rec", PICTURES[part])
    for rec in (folders, [str(folder) for folder in folders], f"{tmp_path}/c,{tmp_path}/a,{tmp_path}/b",
                f"{tmp_path}/{{c,a,b}}"):  # fmt: skip
        assert content(open_source(rec)) == PICTURES
    assert len(open_source(f"{tmp_path}/*")) == len(PICTURES)


def test_train_rec_counts_before_other_record_files(tmp_path):
    write_records(tmp_path / "train.rec", PICTURES)
    write_records(tmp_path / "val.rec", PICTURES[:2])
    assert len(open_source(tmp_path)) == len(PICTURES)


def with_both_kinds(path):
    write_tar(path / "a-0.tar", PICTURES[:2])
    write_records(path / "b-0.rec", PICTURES[:2])
    return path


def a_list_of_kinds(path):
    return [write_tar(path / "a.tar", PICTURES[:2]), write_records(path / "b.rec", PICTURES[:2])]


def a_pattern_of_kinds(path):
    a_list_of_kinds(path)
    return f"{path}/{{a.tar,b.rec}}"


def the_same_twice(path):
    (path / "link.tar").symlink_to(write_tar(path / "a.tar", PICTURES[:2]))
    return [path / "a.tar", path / "link.tar"]


def image_folders(path):
    return [write_folders(path / "a", PICTURES), write_folders(path / "b", PICTURES)]


def an_empty_shard(path):
    write_tar(path / "t-0.tar", PICTURES[:2])
    return [path / "t-0.tar", write_tar(path / "t-1.tar", [])]


def compressed(path):
    return touch(path, "t-0.tar.gz") / "t-0.tar.gz"


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (with_both_kinds, ["record files", "tar shards", "of one kind", "a-0.tar", "b-0.rec"]),
        (a_list_of_kinds, ["record files", "tar shards", "of one kind", "a.tar", "b.rec"]),
        (a_pattern_of_kinds, ["of one kind"]),
        (the_same_twice, ["a.tar twice"]),
        (image_folders, ["no labels in common", "rec_labels='apart'"]),
        (an_empty_shard, ["t-1.tar", "holds no images"]),
        (compressed, ["t-0.tar.gz", "unpack it to a .tar"]),
        (lambda path: touch(path, "t-0.tar.gz"), ["t-0.tar.gz", "unpack it to a .tar"]),
        (lambda path: ["synthetic", write_tar(path / "a.tar", PICTURES)], ["'synthetic' does not exist"]),
    ],
)
def test_what_cannot_be_one_set_is_explained(tmp_path, make, words):
    message = error_of(open_source, make(tmp_path))
    for word in words:
        assert word in message


def test_columns_are_no_matter_of_other_sets(tmp_path):
    path = write_tar(tmp_path / "a.tar", PICTURES)
    for column in ("image_column", "label_column"):
        assert "belong to parquet sets" in error_of(open_source, path, **{column: "x"})


# ---- Labels ---------------------------------------------------------------------------------------------------------


def test_shared_labels_are_as_they_stand(tmp_path):
    for number, part in enumerate(SHARDS):
        write_tar(tmp_path / f"t-{number}.tar", PICTURES[part])
    source = open_source(tmp_path)
    assert source.labels().tolist() == LABELS
    assert source.num_classes == CLASSES


def test_shared_labels_may_not_mean_two_people_by_name(tmp_path):
    """identities.txt, where sets have one, says whose label it is; a shorter list may be the beginning of a longer."""
    sets = [write_records(tmp_path / name / "train.rec", PICTURES).parent for name in "abcd"]
    for folder, people in zip(sets, ("ann\nbob\n", "ann\nbob\ncid\n", None, "ann\nbob\ndan\n")):
        if people is not None:
            (folder / "identities.txt").write_text(people)
    assert len(open_source(sets[:3])) == len(open_source([sets[3], *sets[::2]])) == 3 * len(PICTURES)
    message = error_of(open_source, sets)
    assert message.startswith(f"label 2 is 'cid' in {sets[1]}/identities.txt and 'dan' in {sets[3]}/identities.txt; ")
    assert "rec_labels='apart'" in message
    assert open_source(sets, rec_labels="apart").num_classes == 4 * CLASSES


def test_shared_record_files_may_each_lack_some_of_the_identities(tmp_path):
    # Each folder's own count of identities: 2, 3 and 5; the largest goes for all.
    for name, part, classes in zip("abc", SHARDS, (2, 3, 5)):
        write_records(tmp_path / name / "train.rec", PICTURES[part], classes=classes)
    source = open_source([tmp_path / name for name in "abc"])
    assert (source.num_classes, content(source)) == (5, PICTURES)
    swapped = open_source([tmp_path / name for name in "cab"])
    assert swapped.num_classes == 5
    assert [swapped.read(index).label for index in range(len(swapped))] == LABELS[8:] + LABELS[:8]


def test_shared_record_files_that_do_not_know_their_identities(tmp_path):
    recs = [write_records(tmp_path / f"t-{n}.rec", PICTURES[part], classes=None) for n, part in enumerate(SHARDS)]
    assert "set num_classes" in error_of(open_source, recs)
    assert content(open_source(recs, num_classes=CLASSES)) == PICTURES
    source = open_source(recs, num_classes=3)
    message = error_of(source.read, len(source) - 1)
    assert "t-2.rec key 13 at offset" in message
    assert "label 4 is outside the 3 classes" in message


def expected_apart(groups):
    """Labels moved behind those of the groups before, each group counting 1 + its largest label."""
    labels, first = [], 0
    for group in groups:
        labels += [first + label for label in group]
        first += max(group) + 1
    return labels, first


def test_apart_each_entry_begins_behind_the_one_before(tmp_path):
    groups = [[0, 1, 4], [0, 0], [2, 1]]
    files = [
        write_tar(tmp_path / f"{n}.tar", [(label, jpeg(label, SIZE)) for label in group])
        for n, group in enumerate(groups)
    ]
    labels, classes = expected_apart(groups)
    source = open_source(files, rec_labels="apart")
    assert [source.read(index).label for index in range(len(source))] == source.labels().tolist() == labels
    assert source.num_classes == classes
    # The only entry: each of its files.
    assert open_source(tmp_path, rec_labels="apart").labels().tolist() == labels
    # A folder of shards among other entries is one set.
    (tmp_path / "sub").mkdir()
    other = write_tar(tmp_path / "sub" / "other.tar", [(1, jpeg(9, SIZE))])
    labels, classes = expected_apart([[0, 1, 4, 0, 0, 2, 1], [1]])
    source = open_source([tmp_path, other], rec_labels="apart")
    assert (source.labels().tolist(), source.num_classes) == (labels, classes)


def test_apart_is_nothing_special_for_a_single_file(tmp_path):
    path = write_tar(tmp_path / "a.tar", PICTURES)
    assert open_source(path, rec_labels="apart").labels().tolist() == LABELS


def test_apart_image_folders_are_people_of_their_own(tmp_path):
    source = open_source(image_folders(tmp_path), rec_labels="apart")
    assert source.labels().tolist() == LABELS + [CLASSES + label for label in LABELS]
    assert source.num_classes == 2 * CLASSES


def test_apart_records_keep_to_their_own_number_of_identities(tmp_path):
    recs = [write_records(tmp_path / name / "train.rec", PICTURES[:11], classes=2) for name in "ab"]
    source = open_source(recs, rec_labels="apart")
    assert source.num_classes == 4
    message = error_of(source.read, 10)  # label 2, which would be the first person of the next set
    assert f"{recs[0]} key 10" in message
    assert "label 2 is outside the 2 classes" in message
    assert open_source(recs, rec_labels="apart", num_classes=9).num_classes == 9
    assert "outside the 2 classes" in error_of(open_source(recs, rec_labels="apart", num_classes=9).read, 10)
    assert "holds 4 identities, but num_classes=3" in error_of(open_source, recs, rec_labels="apart", num_classes=3)


def test_apart_needs_the_number_of_identities_of_each(tmp_path):
    recs = [write_records(tmp_path / f"{n}.rec", PICTURES[:3], classes=None) for n in range(2)]
    message = error_of(open_source, recs, rec_labels="apart", num_classes=9)
    assert message.startswith(str(recs[0]))
    assert "number of identities of this set is not known" in message


def test_labels_are_none_where_a_part_has_none():
    class Unknown(SyntheticSource):
        def labels(self):
            return None

    parts = [SyntheticSource(num_classes=3, num_image=4), Unknown(num_classes=3, num_image=4)]
    assert JoinedSource(parts).labels() is None
    assert JoinedSource(parts[:1] * 2).labels().tolist() == [0, 1, 2, 0] * 2


@pytest.mark.parametrize("lengths", [[1], [1, 1, 1], [3, 1, 5], [2, 0, 3]])
def test_every_index_finds_its_part(lengths):
    parts = [SyntheticSource(num_classes=100, num_image=length, seed=seed) for seed, length in enumerate(lengths)]
    joined = JoinedSource(parts)
    expected = [(seed, index) for seed, length in enumerate(lengths) for index in range(length)]
    assert len(joined) == len(expected)
    for index, (seed, place) in enumerate(expected):
        assert joined.describe(index) == f"synthetic image {place}"
        assert (joined.read(index).payload == parts[seed].read(place).payload).all()


# ---- Many files -----------------------------------------------------------------------------------------------------


def test_more_shards_than_files_may_be_open_at_first(tmp_path, monkeypatch):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for number in range(120):
        write_tar(tmp_path / f"t-{number}.tar", [(0, jpeg(number, SIZE))])
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (100, hard))
        assert len(open_source(tmp_path)) == 120
        resource.setrlimit(resource.RLIMIT_NOFILE, (100, hard))
        monkeypatch.setattr(module, "_allow_open_files", lambda count: None)
        message = error_of(open_source, tmp_path)
        assert re.search(r"t-\d+\.tar: cannot be read \(Too many open files\)", message)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
