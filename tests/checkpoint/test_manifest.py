"""Manifests made by someone who wants to do harm: they carry a correct SHA-256, and are refused all the same."""

import hashlib
import json
import os

import pytest

from recognition.checkpoint import CheckpointStore, DamagedCheckpoint, open_checkpoint
from recognition.checkpoint.files import Written
from recognition.checkpoint.manifest import LARGEST_MANIFEST_BYTES, Manifest, parse, serialise, share_of
from tests.checkpoint.small_checkpoints import LONE, hashes, save


def signed(content):
    """The bytes of a manifest with this content, made without the code under test."""

    def spelt(value):
        return (json.dumps(value, sort_keys=True, indent=1) + "\n").encode()

    return spelt({**content, "sha256": hashlib.sha256(spelt(content)).hexdigest()})


@pytest.fixture
def checkpoint(tmp_path):
    """A sound checkpoint, beside a file of another kind, and its manifest's content without the SHA-256."""
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret.json").write_text("{}")
    with CheckpointStore(tmp_path / "checkpoints", LONE) as store:
        path = save(store, 12)
    content = json.loads((path / "manifest.json").read_bytes())
    del content["sha256"]
    return path, content


def refused(path, what=r"manifest\.json"):
    before = hashes(path.parents[1])
    with pytest.raises(DamagedCheckpoint, match=what) as caught:
        open_checkpoint(path)
    assert hashes(path.parents[1]) == before
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_what_was_written_is_read_back():
    files = [Written("a.json", 0, "0" * 64), Written("b.safetensors", 1 << 45, "f" * 64)]
    facts = {"1": [None, 0.1, -0.0, 1e300, "ä\udcff\n", {"b": 1, "a": 2}]}
    manifest = Manifest(12, 32, "2026-11-26T00:00:00+00:00", True, {1: facts["1"]}, files)
    read = parse(serialise(manifest), "manifest.json")
    assert (read.facts, list(read.files)) == (facts, files)
    assert (read.step, read.world, read.written_at, read.is_best) == (12, 32, manifest.written_at, True)


def test_the_signature_of_these_tests_is_that_of_the_store(checkpoint):
    path, content = checkpoint
    assert signed(content) == (path / "manifest.json").read_bytes()
    assert open_checkpoint(path).step == 12


OUTSIDE = "../../outside/secret.json"


@pytest.mark.parametrize(
    "name",
    [OUTSIDE, "..", ".", "", "/etc/passwd", "a/b", "a\\b", "./state.json", ".hidden", "a\0b", "a\n", "ä", "x" * 300, 5]
    + ["manifest.json", None, ["state.json"]],
)
def test_a_name_that_could_lead_elsewhere_is_refused_before_anything_is_opened(checkpoint, name, monkeypatch):
    path, content = checkpoint
    sha256 = hashlib.sha256(b"{}").hexdigest()
    content["files"].append({"name": name, "size": 2, "sha256": sha256})
    (path / "manifest.json").write_bytes(signed(content))
    opened, os_open = [], os.open
    monkeypatch.setattr(os, "open", lambda name, *args: (opened.append(str(name)), os_open(name, *args))[1])
    refused(path)
    assert opened == [str(path / "manifest.json")]


@pytest.mark.parametrize(
    "change",
    [
        {"step": -1},
        {"step": True},
        {"step": 12.0},
        {"step": "12"},
        {"step": 10**13},
        {"step": 13},  # not that of the folder's name
        {"world": 0},
        {"world": None},
        {"written_at": 5},
        {"is_best": 1},
        {"facts": []},
        {"files": {}},
        {"files": ["state.json"]},
        {"files": [{"name": "state.json"}]},
        {"files": [{"name": "state.json", "size": -1, "sha256": "0" * 64}]},
        {"files": [{"name": "state.json", "size": 1.0, "sha256": "0" * 64}]},
        {"files": [{"name": "state.json", "size": 1, "sha256": "0" * 63 + "G"}]},
        {"files": [{"name": "state.json", "size": 1, "sha256": 0}]},
        {"files": [{"name": "state.json", "size": 1, "sha256": "0" * 64, "mode": 7}]},
        {"format": "arcscale checkpoint 2"},
        {"more": 1},
    ],
)
def test_wrong_types_and_ranges_are_refused(checkpoint, change):
    path, content = checkpoint
    (path / "manifest.json").write_bytes(signed({**content, **change}))
    refused(path)


def test_a_file_listed_twice_is_refused(checkpoint):
    path, content = checkpoint
    (path / "manifest.json").write_bytes(signed({**content, "files": content["files"] + content["files"][:1]}))
    assert "twice" in refused(path)


@pytest.mark.parametrize(
    "data",
    [b"", b"[]", b"null", b"{", b"\xff\xfe{}", b'{"step": NaN}', b'{"a": 1, "a": 1}', b"[" * 200_000, b"9" * 10_000]
    + [b'{"sha256": ' + b'{"a":' * 900 + b"1" + b"}" * 901],
)
def test_what_is_no_manifest_is_refused(checkpoint, data):
    path, _ = checkpoint
    (path / "manifest.json").write_bytes(data)
    refused(path)


def test_a_number_beyond_all_floats_is_refused(checkpoint):
    path, content = checkpoint
    content["facts"]["lr"] = 7e300
    (path / "manifest.json").write_bytes(signed(content).replace(b"7e+300", b"7e+999"))
    refused(path)


def test_another_spelling_of_the_same_content_is_refused(checkpoint):
    path, _ = checkpoint
    data = (path / "manifest.json").read_bytes()
    for other in (data + b" ", data + b"\n", data.replace(b" ", b"  ", 1), data[:-1]):
        (path / "manifest.json").write_bytes(other)
        refused(path)


@pytest.mark.parametrize("more_bytes", [0, 1 << 40])
def test_an_oversize_manifest_is_refused_before_it_is_in_memory(checkpoint, more_bytes):
    path, content = checkpoint
    with open(path / "manifest.json", "wb") as file:
        file.write(signed({**content, "facts": {"x": "y" * LARGEST_MANIFEST_BYTES}}))
        file.truncate(file.tell() + more_bytes)
    with pytest.raises(DamagedCheckpoint, match=r"manifest\.json is damaged: it is larger than"):
        open_checkpoint(path)


@pytest.mark.parametrize("name", ["manifest.json", "state.json", "rank-0.safetensors"])
def test_a_symbolic_link_is_not_followed(checkpoint, name):
    path, _ = checkpoint
    target = path.parents[1] / "outside" / name
    (path / name).rename(target)
    (path / name).symlink_to(target)
    assert "symbolic link" in refused(path, name.replace(".", r"\."))


@pytest.mark.parametrize("kind", ["pipe", "folder"])
def test_what_is_no_regular_file_is_refused_without_waiting(checkpoint, kind):
    path, _ = checkpoint
    (path / "state.json").unlink()
    os.mkfifo(path / "state.json") if kind == "pipe" else (path / "state.json").mkdir()
    refused(path, r"state\.json cannot be read: it is no regular file")


def test_a_document_that_changes_after_it_was_verified_is_refused(checkpoint):
    path, _ = checkpoint
    opened = open_checkpoint(path)
    text = (path / "state.json").read_text()
    (path / "state.json").write_text(text.replace("12", "13"))
    with pytest.raises(DamagedCheckpoint, match=r"state\.json is damaged"):
        opened.document("state.json")


def test_a_file_that_the_manifest_does_not_list_is_ignored(checkpoint):
    path, _ = checkpoint
    (path / "notes.txt").write_text("mine")
    assert "notes.txt" not in open_checkpoint(path).names


@pytest.mark.parametrize("parts", [1, 2, 3, 7])
def test_shares_of_files_are_fair_and_miss_none(parts):
    files = [Written(f"f{n}", 1 + n * 37 % 100, "") for n in range(50)]
    shares = [share_of(files, part, parts) for part in range(parts)]
    assert sorted(file for share in shares for file in share) == sorted(files)
    sizes = [sum(file.size for file in share) for share in shares]
    assert max(sizes) - min(sizes) <= 100
