"""launch/embed.py as a user types it: a table of photos, an index, a search, and mistakes in one line."""

import json

import numpy as np
import pytest

from launch import embed
from recognition.gallery.table import open_table
from recognition.weights import save_backbone
from tests.commands import run
from tests.filling import filled_backbone
from tests.pictures import encoded, face, write_people


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    save_backbone(path, filled_backbone("mbf_tiny"), {"network": "mbf_tiny", "embedding_size": 32, "image_size": 112})
    return path


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    return write_people(tmp_path_factory.mktemp("people"), {"ann": 3, "bob": 2}, size=112)


def test_a_folder_becomes_a_table_that_can_be_searched(model, people, tmp_path, monkeypatch, capfd):
    pytest.importorskip("faiss")
    pytest.importorskip("pyarrow")
    table = tmp_path / "gallery.parquet"
    assert run(embed, model, people, "--out", table, monkeypatch=monkeypatch) == 0
    assert f"{table}: 5 faces of 5 photos" in capfd.readouterr().out
    read = open_table(table)
    assert read.labels == ["ann"] * 3 + ["bob"] * 2
    assert read.facts["model"]["network"] == "mbf_tiny"
    index = tmp_path / "gallery.faiss"
    assert run(embed, "index", table, "--out", index, monkeypatch=monkeypatch) == 0
    assert "flat, 5 rows" in capfd.readouterr().out
    photo, answers = people / "bob" / "1.jpg", tmp_path / "answers.json"
    words = ("query", table, photo, "--row", "0", "--model", model, "--index", index, "--k", "2", "--json", answers)
    assert run(embed, *words, monkeypatch=monkeypatch) == 0
    out = capfd.readouterr().out
    assert f"{photo}:\n  1.0000  bob  bob/1.jpg" in out
    assert "row 0 (ann/0.jpg):\n  1.0000  ann  ann/0.jpg" in out
    told = json.loads(answers.read_text())
    assert [len(answer["matches"]) for answer in told] == [2, 2]
    assert run(embed, "query", table, "--row", "0", "--threshold", "1.5", monkeypatch=monkeypatch) == 0
    assert "row 0 (ann/0.jpg): nobody" in capfd.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("{model}", "{people}", "--out", "t.csv"), "a table is a .parquet or an .npy file"),
        (("{model}", "absent", "--out", "t.npy"), "absent does not exist"),
        (("absent", "{people}", "--out", "t.npy"), "model absent does not exist"),
        (("{model}", "{people}", "--out", "t.npy", "--detector", "absent.onnx"), "face detector absent.onnx"),
        (("query", "absent.npy", "--row", "0"), "table absent.npy does not exist"),
        (("index", "absent.npy", "--out", "x.txt"), "name the index .faiss"),
    ],
)
def test_mistakes_are_one_line_and_exit_code_2(model, people, tmp_path, monkeypatch, capfd, words, message):
    monkeypatch.chdir(tmp_path)
    words = [word.format(model=model, people=people) for word in words]
    assert run(embed, *words, monkeypatch=monkeypatch) == 2
    err = capfd.readouterr().err
    assert message in err
    assert "Traceback" not in err


def test_a_query_needs_something_to_look_for_and_the_model_for_photos(model, people, tmp_path, monkeypatch, capfd):
    pytest.importorskip("faiss")
    table = tmp_path / "t.npy"
    run(embed, model, people, "--out", table, monkeypatch=monkeypatch)
    for words, message in (
        ((), "nothing to look for"),
        (("x.jpg",), "--model is missing"),
        (("--row", "5"), "the table has rows 0 to 4"),
        (("--row", "0", "--k", "0"), "--k must be at least 1"),
    ):
        assert run(embed, "query", table, *words, monkeypatch=monkeypatch) == 2
        assert message in capfd.readouterr().err


@pytest.mark.parametrize("words", [("-h",), ("index", "-h"), ("query", "-h")])
def test_help_explains(words, monkeypatch, capfd):
    assert run(embed, *words, monkeypatch=monkeypatch) == 0
    assert "usage:" in capfd.readouterr().out


def test_photos_go_through_the_detector(model, tmp_path, shared_dir, monkeypatch, capfd):
    photos = tmp_path / "photos"
    (photos / "somebody").mkdir(parents=True)
    wall = np.full((200, 300, 3), 90, np.uint8)
    wall[30:142, 100:212] = face()
    (photos / "somebody" / "face.png").write_bytes(encoded(wall, "PNG"))
    (photos / "somebody" / "wall.png").write_bytes(encoded(np.full((200, 300, 3), 90, np.uint8), "PNG"))
    detector = shared_dir / "models" / "yunet_n_dynamic.onnx"
    words = (model, photos, "--out", tmp_path / "t.npy", "--detector", detector, "--min-score", "0.3")
    code = run(embed, *words, monkeypatch=monkeypatch)
    out = capfd.readouterr()
    rows = (tmp_path / "t-failures.csv").read_text()
    assert "somebody/wall.png,no face" in rows
    if code == 0:  # a drawn face is one to the detector, or is not: either way nothing is lost
        assert "1 faces of 2 photos" in out.out
        assert (tmp_path / "t.csv").read_text().splitlines()[1].startswith("somebody/face.png,somebody,")
    else:
        assert "somebody/face.png,no face" in rows
