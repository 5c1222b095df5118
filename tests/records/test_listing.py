"""What a CSV, a `.lst` or a folder says is to be packed, against the same set made by hand."""

import pytest

from recognition.errors import InputError
from recognition.records.encode import Encoder
from recognition.records.layout import NAMES
from recognition.records.listing import list_images
from recognition.records.packing import pack
from recognition.records.unpacking import unpack
from tests.pictures import jpeg, write_people
from tests.records.sets import files_of, images_of

PEOPLE = {"bert": 2, "anna": 3, "Zoe, the 2nd": 1}


@pytest.fixture
def people(tmp_path):
    return write_people(tmp_path / "people", PEOPLE)


def table_of(path, text):
    path.write_text(text)
    return path


def listed(given, **options):
    """(path, label) of each image, and the names."""
    listing = list_images(given, **options)
    return list(zip(listing.source.paths, listing.source.labels().tolist())), listing.names


def test_names_become_labels_in_their_order(tmp_path):
    table = table_of(
        tmp_path / "a.csv", "Name,extra,PATH\nbert,x,b/1.jpg\nanna,,a/1.jpg\nbert,y,b/0.jpg\n\nanna,z,a/0.jpg\n"
    )
    images, names = listed(table)
    assert names == ["anna", "bert"]
    expected = [("a/1.jpg", 0), ("a/0.jpg", 0), ("b/1.jpg", 1), ("b/0.jpg", 1)]
    assert images == [(str(tmp_path / path), label) for path, label in expected]


@pytest.mark.parametrize("root", [None, "elsewhere"])
@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.csv", "path,label\nb.jpg,1\na.jpg,0\n"),
        ("a.csv", '\ufeff"path","label"\r\n"b.jpg","1"\r\n"a.jpg"," 0 "\r\n'),
        ("a.tsv", "label\tpath\n1\tb.jpg\n0\ta.jpg\n"),
        ("a.csv", "label\tpath\tidentity\n1\tb.jpg\tB, the first\n0\ta.jpg\tA\n"),
        ("a.txt", "path,label,note\nb.jpg,1,x\na.jpg,0,\n"),
        ("a.lst", "0\t1\tb.jpg\n1\t0\ta.jpg\n"),
    ],
)
def test_labels_as_given(name, text, root, tmp_path):
    images, names = listed(table_of(tmp_path / name, text), root=root)
    folder = root or str(tmp_path)
    assert images == [(f"{folder}/a.jpg", 0), (f"{folder}/b.jpg", 1)]
    assert names == (["A", "B, the first"] if "identity" in text else None)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,label\na.jpg,0\n", r"line 1: expected a header with the columns path and label .* found 'file,label'"),
        ("path,size\na.jpg,0\n", "line 1: expected a header .* separated by commas or tabs, found .*; correct it"),
        ("", "line 1: expected a header"),
        ("path,label\n", "names no images"),
        ("path,label\na.jpg,0\nb.jpg,one\n", r"line 3: label 'one' is no whole number"),
        ("path,label\na.jpg,0\nb.jpg,-1\n", r"line 3: label '-1' is no whole number"),
        ("path,label\na.jpg,0\nb.jpg,2\n", "no image has label 1, though labels go up to 2"),
        ("path,label\na.jpg,0\nb.jpg\n", r"line 3: 1 columns of 2"),
        ("path,label\na.jpg,0\n,0\n", r"line 3: path is empty"),
        ("path,name\na.jpg,../a\n", r"line 2: name '../a', which cannot be a folder"),
        ("path,name\na.jpg,\n", r"line 2: name '', which cannot be a folder"),
        ('path,name\na.jpg,"a\nb"\n', r"line 3: name 'a\\nb', which cannot be a folder"),
        ("path,label,name\na.jpg,0,a\nb.jpg,0,b\n", "label 0 has the names 'a' and 'b'"),
        ("path,label,name\na.jpg,0,a\nb.jpg,1,a\n", "'a' has the labels 0 and 1"),
        ("path,label\n" + "x" * 140_000 + ",0\n", r"line 2: cannot be read .*field"),
    ],
)
def test_bad_tables_name_the_line(text, message, tmp_path):
    with pytest.raises(InputError, match=f"a.csv.*{message}") as raised:
        list_images(table_of(tmp_path / "a.csv", text))
    assert "\n" not in str(raised.value)


def test_what_cannot_be_listed(people, tmp_path):
    with pytest.raises(
        InputError, match="nowhere does not exist; give a folder with one folder per identity, a .lst or"
    ):
        list_images(tmp_path / "nowhere")
    with pytest.raises(InputError, match="leave out the root"):
        list_images(people, root=tmp_path)
    (people / "two\nlines").mkdir()
    (people / "two\nlines" / "0.jpg").write_bytes(jpeg(0))
    with pytest.raises(InputError, match="the folder 'two.nlines' has a name which cannot be a folder again"):
        list_images(people)


def test_a_table_packs_as_the_folder_does(people, tmp_path):
    rows = [f'"people/{name}/{number}.jpg","{name}"' for name, count in PEOPLE.items() for number in range(count)]
    table = table_of(tmp_path / "a.csv", "path,name\n" + "\n".join(rows) + "\n")
    for given, out in ((table, "a"), (people, "b")):
        pack(list_images(given), tmp_path / out, prepare=Encoder())
    assert files_of(tmp_path / "a") == files_of(tmp_path / "b")
    assert (tmp_path / "a" / NAMES).read_text() == "Zoe, the 2nd\nanna\nbert\n"


@pytest.mark.parametrize("named", [True, False])
def test_the_table_of_an_unpacked_set_packs_to_the_same_set(named, people, tmp_path):
    """Also where the names do not sort as the labels do, which the folders alone could not tell."""
    rows = [
        (f"people/{name}/{number}.jpg", label) for label, name in enumerate(PEOPLE) for number in range(PEOPLE[name])
    ]
    lines = [f'"{path}",{label},"{path.split("/")[1]}"' if named else f'"{path}",{label}' for path, label in rows]
    header = "path,label,name" if named else "path,label"
    table = table_of(tmp_path / "a.csv", "\n".join([header, *lines]) + "\n")
    pack(list_images(table), tmp_path / "a", prepare=Encoder())
    unpacked = unpack(tmp_path / "a" / "train.rec", tmp_path / "again", table=True)
    assert unpacked.remarks == ()
    pack(list_images(tmp_path / "again" / "images.csv"), tmp_path / "b", prepare=Encoder())
    a, b = files_of(tmp_path / "a"), files_of(tmp_path / "b")
    if not named:
        assert b.pop(NAMES) == b"0\n1\n2\n"
    assert a == b
    assert [label for label, _ in images_of(tmp_path / "b")] == [0, 0, 1, 1, 1, 2]
    alone = unpack(tmp_path / "a" / "train.rec", tmp_path / "alone")
    assert bool(alone.remarks) == named
    assert "images.csv" not in {path.name for path in (tmp_path / "alone").iterdir()}


def test_names_with_odd_ends_of_line_survive(tmp_path):
    """Characters that Unicode, though not a file of names, takes for the end of a line."""
    people = write_people(tmp_path / "people", {"a\x85b": 1, "c\u2028d": 1, "e\x0cf": 1})
    pack(list_images(people), tmp_path / "a", prepare=Encoder())
    assert unpack(tmp_path / "a" / "train.rec", tmp_path / "again").num_classes == 3
    assert {path.name for path in (tmp_path / "again").iterdir()} == {"a\x85b", "c\u2028d", "e\x0cf"}
