"""The list of models: what is there, what is not and how to get it; no connection is ever opened."""

import hashlib
import socket
from dataclasses import replace

import pytest

from generation import models, packs
from generation.models import MODELS, model_file, model_rows, models_text, opened_by, pack_file
from generation.packs import PACKS
from recognition.errors import InputError


@pytest.fixture(autouse=True)
def no_network(monkeypatch, tmp_path):
    """Whatever opens a connection fails the test; no model of this machine's user is seen."""

    def refused(*words, **options):
        raise AssertionError(f"a connection was attempted: {words}")

    for name in ("connect", "connect_ex", "sendto"):
        monkeypatch.setattr(socket.socket, name, refused)
    monkeypatch.setattr(socket, "getaddrinfo", refused)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("name", MODELS)
def test_a_model_that_is_not_there_is_one_line_that_names_all(name, tmp_path):
    with pytest.raises(InputError) as raised:
        model_file(name, tmp_path / "root")
    text, model = str(raised.value), MODELS[name]
    for part in (model.file, model.does, model.source, model.licence, model.how, f"{tmp_path}/home/.arcscale/models"):
        assert part in text
    assert str(tmp_path / "root" / model.file) in text
    assert "\n" not in text
    assert text == str(pytest.raises(InputError, opened_by, name, "any task", tmp_path / "root").value)


def test_a_model_is_found_in_each_of_its_places_and_checked(tmp_path, monkeypatch):
    content = b"weights"
    known = replace(MODELS["bisenet"], sha256=hashlib.sha256(content).hexdigest())
    monkeypatch.setitem(MODELS, "bisenet", known)
    for folder in ("home/.arcscale/models", "face_parsing/res/cp", "root/models", "root"):  # each goes before the last
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        (tmp_path / folder / known.file).write_bytes(content)
        found = model_file("bisenet", tmp_path / "root")
        assert found.resolve() == tmp_path / folder / known.file
    found.write_bytes(b"other weights")
    with pytest.raises(InputError, match=r"79999_iter.pth has SHA-256 \w{64}, not \w{64}: damaged.*drive.google.com"):
        model_file("bisenet", tmp_path / "root")
    monkeypatch.setitem(MODELS, "bisenet", replace(known, sha256=None))
    assert model_file("bisenet", tmp_path / "root") == found


def test_files_of_a_pack_are_checked_and_those_of_a_users_folder_are_not(tmp_path):
    for folder in ("root/models/buffalo_l", "mine"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "2d106det.onnx").write_bytes(b"x")
    with pytest.raises(InputError, match=r"2d106det.onnx has SHA-256 .*insightface.*non-commercial"):
        pack_file("buffalo_l", packs.LANDMARKS_106, tmp_path / "root")
    assert opened_by(tmp_path / "mine", packs.LANDMARKS_106).name == "2d106det.onnx"
    assert opened_by(tmp_path / "any.onnx", packs.LANDMARKS_106) == tmp_path / "any.onnx"
    with pytest.raises(InputError, match="'nonsense' is no model known here; there are yunet"):
        model_file("nonsense")


def test_the_list_says_what_lies_where(tmp_path):
    folder = tmp_path / "home" / ".arcscale" / "models"
    folder.mkdir(parents=True)
    (folder / "pfld.onnx").write_bytes(b"x")
    (tmp_path / "home" / ".insightface" / "models" / "buffalo_s").mkdir(parents=True)
    (tmp_path / "home" / ".insightface" / "models" / "buffalo_s" / "genderage.onnx").write_bytes(b"x")
    rows = {row["name"]: row for row in model_rows()}
    assert set(rows) == {*MODELS, *PACKS}
    assert rows["pfld68"]["lies"] == str(folder / "pfld.onnx")
    assert rows["pfld68"]["sha256"] == models.NOT_KNOWN
    assert rows["buffalo_s"]["lies"].endswith("models/buffalo_s")
    assert rows["yunet"]["lies"] == rows["buffalo_l"]["lies"] == "not here"
    text = models_text()
    for row in rows.values():
        assert row["licence"] in text
        assert row["get it"] in text


def test_what_is_known_is_well_formed():
    for name, model in MODELS.items():
        assert name == model.name
        assert model.source.startswith("https://")
        assert model.sha256 is None or (len(model.sha256) == 64 and int(model.sha256, 16))
        assert model.size_bytes > 1e5


def test_the_detector_of_the_list_is_the_published_one(shared_dir):
    """The file of landmarks beside the checkout is of the size that is listed."""
    path = shared_dir / "models" / "pfld68_cunjian.onnx"
    if not path.is_file():
        pytest.skip(f"no {path}")
    assert path.stat().st_size == MODELS["pfld68"].size_bytes
