"""Hugging Face data sets: which columns count, what is read, and what is said of rows and files that are no good."""

import re
import subprocess
import sys

import numpy as np
import pytest

from recognition.data.sources import open_source
from tests.data.source_kinds import CLASSES, LABELS, PICTURES, content, error_of, hugging_face_set, write_tar
from tests.data.source_kinds import hugging_face as hugging_face
from tests.pictures import jpeg

pytestmark = pytest.mark.usefixtures("hugging_face")


def write_table(path, **columns):
    """A parquet file of plain Arrow columns, which knows nothing of `datasets`; two rows a group."""
    import pyarrow.parquet

    pyarrow.parquet.write_table(pyarrow.table(columns), path, row_group_size=2)
    return path


def pictures(count=4):
    return [jpeg(seed) for seed in range(count)]


def test_what_is_read_is_what_the_library_reads(tmp_path):
    import datasets

    hugging_face_set(PICTURES).save_to_disk(tmp_path / "set", num_shards=3)
    source = open_source(tmp_path / "set")
    plain = datasets.load_from_disk(tmp_path / "set").cast_column("image", datasets.Image(decode=False))
    assert content(source) == [(row["label"], row["image"]["bytes"]) for row in plain]
    assert source.labels().tolist() == plain["label"][:]
    assert source.read(0).payload.readonly


@pytest.mark.parametrize(
    ("image", "label"),
    [("image", "label"), ("img", "identity"), ("jpg", "cls"), ("face", "person_id"), ("image", "labels")],
)
def test_columns_of_usual_names_are_found(tmp_path, image, label):
    path = write_table(tmp_path / "a.parquet", **{"id": [7, 7, 7, 7], image: pictures(), label: [1, 0, 2, 1]})
    assert content(open_source(path)) == list(zip([1, 0, 2, 1], pictures()))


def test_columns_of_other_names_are_named_by_the_user(tmp_path):
    columns = {"image": pictures(), "crop": pictures()[::-1], "label": [0] * 4, "who": [3, 2, 1, 0]}
    path = write_table(tmp_path / "a.parquet", **columns)
    source = open_source(path, image_column="crop", label_column="who")
    assert content(source) == list(zip([3, 2, 1, 0], pictures()[::-1]))


def test_columns_that_are_not_there_are_listed(tmp_path):
    path = write_table(tmp_path / "a.parquet", picture_of_them=pictures(), who=[0] * 4)
    message = error_of(open_source, path)
    assert message.startswith(f"{path}: has no image column image, img, ")
    assert "but picture_of_them, who; set image_column" in message
    assert "no label column 'x'" in error_of(open_source, path, image_column="picture_of_them", label_column="x")


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"image": ["a.jpg"] * 4, "label": [0] * 4}, "column image has string, not encoded pictures"),
        ({"image": [{"width": 3}] * 4, "label": [0] * 4}, "not encoded pictures"),
        ({"image": [b"x"] * 4, "label": [0.5] * 4}, "column label has double, not numbers or names"),
        ({"image": [b"x"] * 4, "label": [0, 1, -1, 2]}, "row 2: label -1 is not a class number"),
        ({"image": [b"x"] * 4, "label": [0, 1, 2, None]}, "row 3: column label is empty there"),
        ({"image": [{"bytes": b"x"}] * 3 + [None], "label": [0] * 4}, "row 3: column image is empty there"),
        ({"image": [], "label": []}, "holds no rows"),
    ],
)
def test_columns_that_hold_something_else_are_errors(tmp_path, columns, words):
    import pyarrow

    if not columns["image"]:
        columns = {"image": pyarrow.array([], pyarrow.binary()), "label": pyarrow.array([], pyarrow.int64())}
    message = error_of(open_source, write_table(tmp_path / "a.parquet", **columns))
    assert str(tmp_path / "a.parquet") in message
    assert words in message


def test_a_row_without_a_picture_is_an_error_when_it_is_read(tmp_path):
    for images in ([b"a", None], [{"bytes": b"a", "path": None}, {"bytes": None, "path": None}]):
        source = open_source(write_table(tmp_path / f"{len(str(images))}.parquet", image=images, label=[0, 1]))
        assert bytes(source.read(0).payload) == b"a"
        assert " row 1: has no picture; " in error_of(source.read, 1)


def test_pictures_may_lie_beside_the_set(tmp_path):
    (tmp_path / "faces").mkdir()
    (tmp_path / "faces" / "1.jpg").write_bytes(jpeg(1))
    images = [
        {"bytes": jpeg(0), "path": "x.jpg"},
        {"bytes": None, "path": "faces/1.jpg"},
        {"bytes": None, "path": "no.jpg"},
    ]
    source = open_source(write_table(tmp_path / "a.parquet", image=images, label=[0, 1, 2]))
    assert bytes(source.read(0).payload) == jpeg(0)
    assert source.read(1).payload == jpeg(1)
    assert str(tmp_path / "no.jpg") in error_of(source.read, 2)


def test_names_of_people_are_numbered_in_their_order_over_all_files(tmp_path):
    import pyarrow

    write_table(tmp_path / "t-0.parquet", image=pictures(3), label=pyarrow.array(["eve", "bob", "eve"]))
    write_table(tmp_path / "t-1.parquet", image=pictures(2), label=pyarrow.array(["ann", "bob"]))
    source = open_source(tmp_path)
    assert source.labels().tolist() == [2, 1, 2, 0, 1]
    assert source.num_classes == 3
    apart = open_source(tmp_path, rec_labels="apart")
    assert apart.labels().tolist() == [1, 0, 1, 2, 3]


def test_names_stored_as_a_dictionary_are_names(tmp_path):
    import pyarrow

    people = pyarrow.array(["eve", "bob", "ann", "bob"]).dictionary_encode()
    assert open_source(write_table(tmp_path / "a.parquet", image=pictures(), label=people)).labels().tolist() == [
        2,
        1,
        0,
        1,
    ]


def test_classes_that_the_set_names_count_even_without_a_picture(tmp_path):
    hugging_face_set(PICTURES[:4]).save_to_disk(tmp_path / "set")
    source = open_source(tmp_path / "set")
    assert max(source.labels()) + 1 == 2
    assert source.num_classes == CLASSES


@pytest.mark.parametrize("kind", ["uint8", "int16", "uint32", "int64"])
def test_labels_of_any_width_are_int64(tmp_path, kind):
    path = write_table(tmp_path / "a.parquet", image=pictures(), label=np.arange(4, dtype=kind))
    labels = open_source(path).labels()
    assert (labels.dtype, labels.tolist()) == (np.int64, [0, 1, 2, 3])


def test_another_content_under_the_same_name_is_not_the_cached_one(tmp_path):
    path = write_table(tmp_path / "a.parquet", image=pictures(), label=[0, 1, 2, 3])
    open_source(path)
    write_table(path, image=pictures(5)[1:], label=[3, 2, 1, 0])
    assert content(open_source(path)) == list(zip([3, 2, 1, 0], pictures(5)[1:]))


def test_only_the_two_columns_are_cached(tmp_path, hugging_face):
    noise = np.random.default_rng(0).bytes(1 << 20)
    open_source(write_table(tmp_path / "a.parquet", image=pictures(), label=[0] * 4, other=[noise] * 4))
    cached = sum(file.stat().st_size for file in hugging_face.config.HF_DATASETS_CACHE.rglob("*.arrow"))
    assert 0 < cached < 1 << 20


def splits(folder, *names):
    import datasets

    parts = {name: hugging_face_set(PICTURES[number : number + 5]) for number, name in enumerate(names)}
    datasets.DatasetDict(parts).save_to_disk(folder)
    return folder


def test_of_several_splits_it_is_train(tmp_path):
    assert content(open_source(splits(tmp_path / "a", "test", "train"))) == PICTURES[1:6]
    assert content(open_source(splits(tmp_path / "b", "faces"))) == PICTURES[:5]
    folder = splits(tmp_path / "c", "one", "two")
    assert f"holds the splits one, two; name one, e.g. rec={folder}/SPLIT" in error_of(open_source, folder)
    assert content(open_source(folder / "two")) == PICTURES[1:6]


def test_parts_of_a_saved_set_that_are_gone_or_no_good_are_named(tmp_path):
    folder = tmp_path / "set"
    hugging_face_set(PICTURES).save_to_disk(folder, num_shards=2)
    second = folder / "data-00001-of-00002.arrow"
    whole = second.read_bytes()
    second.unlink()
    assert f"{second}: is missing" in error_of(open_source, folder)
    second.write_bytes(b"")
    assert str(second) in error_of(open_source, folder)
    second.write_bytes(whole)
    for state, words in (("{", "cannot be read as JSON"), ("{}", "lists no data files"), ("[]", "lists no data files")):
        (folder / "state.json").write_text(state)
        message = error_of(open_source, folder)
        assert str(folder / "state.json") in message
        assert words in message


def test_offsets_that_point_outside_are_damage_not_a_crash(tmp_path):
    import pyarrow

    folder = tmp_path / "set"
    hugging_face_set(PICTURES).save_to_disk(folder, num_shards=1)
    path = folder / "data-00000-of-00001.arrow"
    image = pyarrow.ipc.open_stream(path).read_all().column("image").chunk(0).field("bytes")
    offsets = np.frombuffer(image.buffers()[1], np.int32)[: len(image) + 1]
    stored = path.read_bytes()
    assert stored.count(offsets.tobytes()) == 1
    wrong = offsets.copy()
    wrong[3] = 1 << 30
    path.write_bytes(stored.replace(offsets.tobytes(), wrong.tobytes()))
    message = error_of(open_source, folder)
    assert str(path) in message
    assert "damaged" in message


def test_the_damaged_one_of_several_parquet_files_is_named(tmp_path):
    for number in range(3):
        write_table(tmp_path / f"t-{number}.parquet", image=pictures(), label=[0, 1, 2, 3])
    path = tmp_path / "t-1.parquet"
    stored = bytearray(path.read_bytes())
    stored[4:400] = bytes(396)  # the first page, while the footer is whole
    path.write_bytes(stored)
    message = error_of(open_source, tmp_path)
    assert message.startswith(str(path))
    assert "re-copy it" in message


def test_files_whose_columns_differ_are_errors(tmp_path):
    write_table(tmp_path / "t-0.parquet", image=pictures(), label=[0, 1, 2, 3])
    path = write_table(tmp_path / "t-1.parquet", image=pictures(), label=["a", "b", "c", "d"])
    assert error_of(open_source, tmp_path).startswith(f"{path}: column label has string, that of ")
    write_table(path, image=pictures(), who=[0, 1, 2, 3])
    assert "no such column" in error_of(open_source, tmp_path)


def test_several_sets_are_joined_with_labels_shared_or_apart(tmp_path):
    for name in "ab":
        hugging_face_set(PICTURES).save_to_disk(tmp_path / name)
    rec = [tmp_path / "a", tmp_path / "b"]
    assert content(open_source(rec)) == [*PICTURES, *PICTURES]
    apart = open_source(rec, rec_labels="apart")
    assert apart.labels().tolist() == LABELS + [CLASSES + label for label in LABELS]
    assert "of one kind" in error_of(open_source, [tmp_path / "a", write_tar(tmp_path / "a.tar", PICTURES)])


def test_without_the_library_an_error_says_how_to_get_it(tmp_path, monkeypatch):
    write_table(tmp_path / "a.parquet", image=pictures(), label=[0] * 4)
    hugging_face_set(PICTURES).save_to_disk(tmp_path / "saved")
    monkeypatch.setitem(sys.modules, "datasets", None)
    for rec in (tmp_path / "a.parquet", tmp_path / "saved"):
        assert "pip install -e '.[datasets]'" in error_of(open_source, rec)


def test_a_file_cut_while_it_is_mapped_is_an_error_and_no_bus_error(tmp_path):
    import datasets

    datasets.Dataset.from_dict({"image": [bytes(10_000)] * 3, "label": [0, 1, 2]}).save_to_disk(tmp_path / "set")
    code = (
        "import os, sys; from recognition.data.sources import open_source; from recognition.errors import InputError\n"
        "source = open_source(sys.argv[1]); source.read(2); os.truncate(source.files[0], 5000)\n"
        "try: source.read(2)\n"
        "except InputError as error: print(error)\n"
    )
    run = subprocess.run([sys.executable, "-c", code, tmp_path / "set"], capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stderr
    assert re.search(r"\.arrow row 2: the file was cut from \d+ to 5000 bytes while it was in use; re-copy", run.stdout)
