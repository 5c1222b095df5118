"""The new folder that a command makes: whole or not at all, one process at a time, errors that say where."""

import errno
import fcntl
import os
from pathlib import Path

import pytest

from recognition.errors import InputError
from recognition.records.layout import new_folder


def test_what_a_killed_command_left_aside_goes(tmp_path):
    left = tmp_path / "out.partial"
    (left / "inner").mkdir(parents=True)
    (left / "inner" / "file").touch()
    (left / "file").touch()
    (left / "link").symlink_to(tmp_path)
    with new_folder(tmp_path / "out") as aside:
        assert aside == left
        assert not os.listdir(aside)
        (aside / "new").touch()
    assert os.listdir(tmp_path) == ["out"]
    assert os.listdir(tmp_path / "out") == ["new"]


def test_an_empty_folder_is_as_good_as_none(tmp_path):
    (tmp_path / "out").mkdir()
    with new_folder(tmp_path / "out") as aside:
        (aside / "new").touch()
    assert os.listdir(tmp_path / "out") == ["new"]


def test_two_commands_never_write_into_one_folder(tmp_path):
    with new_folder(tmp_path / "out") as aside:
        (aside / "mine").touch()
        second = new_folder(tmp_path / "out")
        with pytest.raises(InputError, match=r"out\.partial: another process writes here now"), second:
            pytest.fail("was begun")
        assert os.listdir(aside) == ["mine"]
    assert os.listdir(tmp_path / "out") == ["mine"]


def test_a_file_system_without_locks_does(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.EBADF, "Bad file descriptor")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with new_folder(tmp_path / "out") as aside:
        (aside / "new").touch()
    assert os.listdir(tmp_path / "out") == ["new"]


@pytest.mark.parametrize("place", ["link", "dangling", "."])
def test_a_place_that_no_folder_can_take_is_refused_before_the_work(place, tmp_path, monkeypatch):
    for name in ("cwd", "empty", "links"):
        (tmp_path / name).mkdir()
    (tmp_path / "links" / "link").symlink_to(tmp_path / "empty")
    (tmp_path / "links" / "dangling").symlink_to("nowhere")
    monkeypatch.chdir(tmp_path / "cwd")
    given = Path(".") if place == "." else tmp_path / "links" / place
    with pytest.raises(InputError, match="is a folder to stay"), new_folder(given):
        pytest.fail("was begun")
    assert not os.listdir()
    assert sorted(os.listdir(tmp_path / "links")) == ["dangling", "link"]


def test_an_empty_disk_is_refused_before_the_work(tmp_path, monkeypatch):
    (tmp_path / "disk").mkdir()
    monkeypatch.setattr(Path, "is_mount", lambda path: path.name == "disk")
    with pytest.raises(InputError, match="disk: is a folder to stay"), new_folder(tmp_path / "disk"):
        pytest.fail("was begun")
    assert os.listdir(tmp_path) == ["disk"]


def test_a_full_disk_is_told_with_the_folder(tmp_path):
    with pytest.raises(OSError, match="No space left") as raised, new_folder(tmp_path / "out"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert raised.value.filename == str(tmp_path / "out")
    assert not os.listdir(tmp_path)
