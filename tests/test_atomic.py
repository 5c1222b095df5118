"""Files whole or absent: an error names the file the user asked for, leaves the old one, and no leftover beside it."""

import errno
import os

import pytest

from recognition.atomic import replacing, write_text


def fail_halfway(path, error):
    with replacing(path) as partial:
        partial.write_text("half")
        raise error(partial) if callable(error) else error


def entries(folder):
    return sorted(entry.name for entry in folder.iterdir())


@pytest.mark.parametrize("named", [False, True])
def test_an_error_names_the_final_path_and_leaves_the_old_file(tmp_path, named):
    path = tmp_path / "a.txt"
    path.write_text("old")

    def full(partial):
        return OSError(errno.ENOSPC, "No space left on device", *([str(partial)] if named else []))

    with pytest.raises(OSError, match="No space") as caught:
        fail_halfway(path, full)
    assert (caught.value.filename, caught.value.errno) == (str(path), errno.ENOSPC)
    assert (path.read_text(), entries(tmp_path)) == ("old", ["a.txt"])


def test_an_error_about_another_file_keeps_its_name(tmp_path):
    error = FileNotFoundError(errno.ENOENT, "No such file or directory", str(tmp_path / "source"))
    with pytest.raises(FileNotFoundError) as caught:
        fail_halfway(tmp_path / "a.txt", error)
    assert caught.value.filename == str(tmp_path / "source")


@pytest.mark.parametrize("error", [ValueError(), KeyboardInterrupt()])
def test_any_error_leaves_the_old_file_and_no_partial_one(tmp_path, error):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(type(error)):
        fail_halfway(path, error)
    assert (path.read_text(), entries(tmp_path)) == ("old", ["a.txt"])


def test_two_writers_of_one_file_do_not_meet(tmp_path):
    path = tmp_path / "a.txt"
    with replacing(path) as first:
        first.write_text("first")
        with replacing(path) as second:
            second.write_text("second")
        assert path.read_text() == "second"
    assert (path.read_text(), entries(tmp_path)) == ("first", ["a.txt"])


def test_the_bytes_are_on_disk_before_the_name_is(tmp_path, monkeypatch):
    done, replace, fsync = [], os.replace, os.fsync
    monkeypatch.setattr(os, "fsync", lambda file: (done.append("synced"), fsync(file)))
    monkeypatch.setattr(os, "replace", lambda *paths: (done.append("named"), replace(*paths)))
    write_text(tmp_path / "new" / "folder" / "a.txt", "grüße \udcff")
    assert done == ["synced", "named"]
    assert (tmp_path / "new" / "folder" / "a.txt").read_bytes() == "grüße ".encode() + b"\xff"


def test_who_may_read_a_file_does_not_depend_on_who_wrote_it(tmp_path):
    with replacing(tmp_path / "a.txt") as partial:
        partial.write_text("x")
        partial.chmod(0o600)
    (tmp_path / "plain.txt").write_text("x")
    assert (tmp_path / "a.txt").stat().st_mode == (tmp_path / "plain.txt").stat().st_mode


def test_a_disk_that_cannot_be_written_is_told_with_the_name_that_was_given(tmp_path, monkeypatch):
    """Linux says EROFS even of removing a file that is not there."""

    def refuse(path, **_):
        raise OSError(errno.EROFS, "Read-only file system", str(path))

    monkeypatch.setattr(type(tmp_path), "touch", refuse)
    monkeypatch.setattr(type(tmp_path), "unlink", refuse)
    with pytest.raises(OSError, match="Read-only") as caught:
        write_text(tmp_path / "a.txt", "new")
    assert caught.value.filename == str(tmp_path / "a.txt")
