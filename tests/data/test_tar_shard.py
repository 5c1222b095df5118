"""Which members of a shard are samples, which label they have, and what is said where one is not whole."""

import io
import os
import subprocess
import sys
import tarfile

import pytest

from recognition.data.sources import TarSource, open_source
from recognition.data.sources import tar_shard as module
from recognition.errors import InputError
from tests.data.source_kinds import PICTURES, add_member, write_tar
from tests.pictures import encoded, jpeg, smooth


def shard(path, *members):
    """A shard of (name, content) pairs, or of TarInfos."""
    with tarfile.open(path, "w") as archive:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                archive.addfile(member)
            else:
                add_member(archive, *member)
    return path


def samples(source):
    return [(bytes(source.read(index).payload), source.read(index).label) for index in range(len(source))]


def test_samples_of_any_picture_format_in_the_order_of_the_archive(tmp_path):
    png, webp = encoded(smooth(1), "PNG"), encoded(smooth(2), "WEBP")
    source = TarSource(
        shard(
            tmp_path / "a.tar",
            ("b/0.png", png),
            ("b/0.cls", b" 7\n"),
            ("a/0.cls", b"3"),
            ("a/0.JPG", jpeg(0)),
            ("a/1.json", b'{"cls": 2, "name": "ann"}'),
            ("a/1.webp", webp),
        )
    )
    assert samples(source) == [(png, 7), (jpeg(0), 3), (webp, 2)]
    assert source.num_classes == 8
    assert source.describe(1).startswith(f"{tmp_path / 'a.tar'} member a/0.JPG at offset ")


def test_the_same_name_in_two_folders_is_two_samples_and_dots_in_folders_do_not_count(tmp_path):
    members = [(f"{folder}/7.{suffix}", b"1") for folder in ("x.1", "x.2", ".") for suffix in ("jpg", "cls")]
    assert len(TarSource(shard(tmp_path / "a.tar", *members))) == 3


@pytest.mark.parametrize(
    ("suffix", "content", "label"),
    [
        ("cls", b"0", 0),
        ("cls", b"007\r\n", 7),
        ("cls", b"5000000000", 5_000_000_000),
        ("json", b'{"label": 4, "cls": 5, "class": 6}', 4),
        ("json", b'{"class": 6}', 6),
    ],
)
def test_labels(tmp_path, suffix, content, label):
    source = TarSource(shard(tmp_path / "a.tar", ("0.jpg", b"x"), (f"0.{suffix}", content)))
    assert source.read(0).label == source.labels()[0] == label
    assert source.num_classes == label + 1


def test_cls_counts_where_there_is_json_as_well(tmp_path):
    source = TarSource(shard(tmp_path / "a.tar", ("0.jpg", b"x"), ("0.json", b"not even json"), ("0.cls", b"3")))
    assert source.read(0).label == 3


@pytest.mark.parametrize(
    ("suffix", "content", "problem"),
    [
        ("cls", b"-1", "'-1' is not a class number"),
        ("cls", b"1.0", "'1.0' is not a class number"),
        ("cls", b"", "'' is not a class number"),
        ("cls", b"9" * 19, "is not a class number"),
        ("cls", "²".encode(), "is not a class number"),
        ("json", b'{"label": "ann"}', "'ann' is not a class number"),
        ("json", b'{"label": true}', "True is not a class number"),
        ("json", b'{"label": -1}', "-1 is not a class number"),
        ("json", b'{"person": 1}', "no label, cls, class is not a class number"),
        ("json", b"[1]", "no label, cls, class is not a class number"),
        ("json", b"1", "no label, cls, class is not a class number"),
        ("json", b'"label"', "no label, cls, class is not a class number"),
        ("json", b'{"label": 1', "not readable as JSON"),
        ("json", b"\xff\xfe", "not readable as JSON"),
    ],
)
def test_labels_that_are_none_name_their_member(tmp_path, suffix, content, problem):
    path = shard(tmp_path / "a.tar", ("0.jpg", b"x"), (f"0.{suffix}", content))
    with pytest.raises(InputError) as caught:
        TarSource(path)
    assert f"{path} member 0.{suffix} at offset " in str(caught.value)
    assert problem in str(caught.value)
    assert "; " in str(caught.value)


def test_other_members_are_left_out(tmp_path):
    folder = tarfile.TarInfo("set")
    folder.type = tarfile.DIRTYPE
    link = tarfile.TarInfo("set/0.txt")
    link.type, link.linkname = tarfile.SYMTYPE, "elsewhere"
    source = TarSource(
        shard(
            tmp_path / "a.tar",
            folder,
            ("set/._0.jpg", b"what macOS leaves"),
            ("set/0.jpg", jpeg(0)),
            ("set/._0.cls", b"what macOS leaves"),
            ("set/0.mask.png", b"x"),
            link,
            ("set/README", b"x"),
            ("set/0.cls", b"1"),
            ("set/meta.json", b'{"what": "no sample"}'),
            ("set/notes.txt", b"x"),
        )
    )
    assert samples(source) == [(jpeg(0), 1)]


def linked(kind):
    link = tarfile.TarInfo("0.jpg")
    link.type, link.linkname = kind, "elsewhere.jpg"
    return link


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ([("0.jpg", b"x")], ["member 0.jpg", "an image without a label", "--sort=name"]),
        ([("0.cls", b"1")], ["member 0.cls", "a label without an image", "--sort=name"]),
        ([("0.jpg", b"x"), ("1.cls", b"1"), ("0.cls", b"1")], ["member 0.jpg", "an image without a label"]),
        ([("0.jpg", b"x"), ("0.png", b"x"), ("0.cls", b"1")], ["member 0.png", "a second .png"]),
        ([("0.jpg", b"x"), ("0.cls", b"1"), ("0.cls", b"2")], ["member 0.cls", "a second .cls"]),
        ([linked(tarfile.LNKTYPE), ("0.cls", b"1")], ["member 0.jpg", "a link, not a file", "--hard-dereference"]),
        ([linked(tarfile.SYMTYPE), ("0.cls", b"1")], ["member 0.jpg", "a link, not a file", "--dereference"]),
    ],
)
def test_samples_that_are_not_whole_are_errors(tmp_path, members, words):
    path = shard(tmp_path / "a.tar", *members)
    with pytest.raises(InputError) as caught:
        TarSource(path)
    assert str(caught.value).startswith(str(path))
    for word in words:
        assert word in str(caught.value)


def test_names_that_lead_out_of_the_archive_are_only_names(tmp_path):
    (tmp_path / "set").mkdir()
    before = sorted(tmp_path.rglob("*"))
    path = shard(
        tmp_path / "set" / "a.tar", ("../../0.jpg", jpeg(0)), ("../../0.cls", b"0"), ("/1.jpg", b"x"), ("/1.cls", b"0")
    )
    assert samples(TarSource(path)) == [(jpeg(0), 0), (b"x", 0)]
    assert sorted(tmp_path.rglob("*")) == sorted([*before, path])


@pytest.mark.parametrize(
    "make", [lambda path: path.write_bytes(b""), lambda path: path.mkdir()], ids=["empty", "folder"]
)
def test_what_cannot_be_mapped_is_named(tmp_path, make):
    make(tmp_path / "a.tar")
    with pytest.raises(InputError, match=rf"^{tmp_path / 'a.tar'}: .*; "):
        TarSource(tmp_path / "a.tar")


def test_an_archive_without_samples_is_an_error_of_the_set(tmp_path):
    write_tar(tmp_path / "a-0.tar", PICTURES)
    path = shard(tmp_path / "a-1.tar", ("notes.txt", b"x"))
    with pytest.raises(InputError, match=rf"^{path}: holds no images; "):
        open_source(tmp_path)


@pytest.mark.parametrize("beside", [True, False])
def test_the_index_of_a_large_shard_is_cached_and_made_again_for_another_shard(tmp_path, monkeypatch, beside):
    monkeypatch.setattr(module, "CACHE_FROM", 1)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user"))
    path = write_tar(tmp_path / "set" / "a.tar", PICTURES[:5])
    if not beside:
        (tmp_path / "set" / "a.tar.cache").mkdir()  # a place that cannot be written
    expected = samples(TarSource(path))
    caches = [file for file in tmp_path.rglob("*.cache") if file.is_file()]
    assert [file.is_relative_to(tmp_path / "set") for file in caches] == [beside]

    walks = []
    monkeypatch.setattr(module, "walk", lambda *given: walks.append(given) or [])
    assert samples(TarSource(path)) == expected
    assert not walks
    monkeypatch.undo()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user"))
    write_tar(path, PICTURES[3:9])
    os.utime(path, ns=(1, 1))
    assert samples(TarSource(path)) == [(payload, label) for label, payload in PICTURES[3:9]]


def test_a_small_shard_leaves_no_cache(tmp_path):
    TarSource(write_tar(tmp_path / "a.tar", PICTURES))
    assert os.listdir(tmp_path) == ["a.tar"]


def test_payloads_are_views_of_the_file(tmp_path):
    source = TarSource(write_tar(tmp_path / "a.tar", PICTURES))
    payload = source.read(0).payload
    assert isinstance(payload, memoryview)
    assert payload.readonly
    assert io.BytesIO(payload).read() == PICTURES[0][1]


def test_a_shard_cut_while_it_is_mapped_is_an_error_and_no_bus_error(tmp_path):
    path = write_tar(tmp_path / "a.tar", [(0, bytes(10_000))] * 3)
    code = (
        "import os, sys; from recognition.data.sources import TarSource; from recognition.errors import InputError\n"
        "source = TarSource(sys.argv[1]); os.truncate(sys.argv[1], 5000); print(source.describe(2))\n"
        "try: source.read(2)\n"
        "except InputError as error: print(error)\n"
    )
    run = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stderr
    place, error = run.stdout.splitlines()
    assert place.startswith(f"{path} at offset ")
    assert error.startswith(f"{place}: the file was cut from ")
    assert "to 5000 bytes while it was in use; the archive is damaged or cut short: re-copy it" in error
