"""Fetching a pack, where that is asked for: from an archive on this machine, whole or not at all."""

import hashlib
import zipfile

import pytest

from generation.packs import PACKS, SHA256, fetch_pack, file_of, is_pack, recogniser_of
from recognition.errors import InputError

NAME = "buffalo_s"


@pytest.fixture
def published(monkeypatch):
    """The pack as if its files held their own names and nothing else."""
    for file in PACKS[NAME].files.values():
        monkeypatch.setitem(SHA256, file, hashlib.sha256(file.encode()).hexdigest())


def archive(path, files, folder=""):
    with zipfile.ZipFile(path, "w") as opened:
        for name in files:
            opened.writestr(f"{folder}{name}", name.encode())
    return path.as_uri()


@pytest.mark.parametrize("folder", ["", "buffalo_s/", "../../"])
def test_a_pack_is_unpacked_into_its_folder_and_nowhere_else(folder, tmp_path, published):
    files = [*PACKS[NAME].files.values(), "setup.py"]
    root = tmp_path / "root"
    place = fetch_pack(NAME, root, source=archive(tmp_path / "a.zip", files, folder))
    assert place == root / "models" / NAME
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file()) == sorted([*files[:-1], "a.zip"])
    assert recogniser_of(NAME, root).read_bytes() == b"w600k_mbf.onnx"
    with pytest.raises(InputError, match="is there already"):
        fetch_pack(NAME, root, source="file:///nowhere")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be fetched"),
        (b"no archive", "is no archive that can be read"),
        (["det_500m.onnx"], "lacks 1k3d68"),
        (PACKS[NAME].files.values(), r"1k3d68.onnx in .*a.zip has SHA-256 [0-9a-f]{64}, not df5c06b8"),
    ],
)
def test_what_cannot_be_had_leaves_nothing(content, message, tmp_path):
    source = tmp_path / "a.zip"
    if isinstance(content, bytes):
        source.write_bytes(content)
    elif content:
        archive(source, content)
    with pytest.raises(InputError, match=message):
        fetch_pack(NAME, tmp_path / "root", source=source.as_uri())
    assert not list((tmp_path / "root" / "models").iterdir())


def test_names():
    assert (is_pack("buffalo_l"), is_pack("lfw")) == (True, False)
    with pytest.raises(InputError, match="'lfw' is no pack"):
        fetch_pack("lfw")
    with pytest.raises(InputError, match=r"genderage.onnx of buffalo_l \(gender and age\) is not there"):
        file_of("buffalo_l", "gender and age", "nowhere")
