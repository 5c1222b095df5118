"""Folders and videos: one line for each picture, failures listed, whole files or none, Ctrl-C in order."""

import json
import os
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from generation.analysis import writing as writing_module
from generation.analysis.analyser import Analyser
from generation.analysis.known import KnownFaces
from generation.analysis.run import Wanted, analyse, files_of
from recognition.embedding.models import Embedder
from recognition.errors import InputError
from recognition.heads.classes import Class
from tests.faces.red_faces import RedFaces, photo_of


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    (folder / "deeper").mkdir(parents=True)
    Image.fromarray(photo_of(300, 200, (40, 50, 60, 90), (160, 60, 80, 80))).save(folder / "two.png")
    Image.fromarray(photo_of(200, 200)).save(folder / "deeper" / "none.png")
    Image.fromarray(photo_of(200, 240, (60, 60, 70, 95))).save(folder / "one.png")
    (folder / "broken.jpg").write_bytes(b"no picture")
    (folder / "notes.txt").write_text("no picture either")
    return folder


def read(out):
    def refuse(word):
        raise AssertionError(word)

    return json.loads((out / "faces.json").read_text(encoding="utf-8"), parse_constant=refuse)


def test_a_folder_one_line_for_each_picture(photos, tmp_path):
    out = tmp_path / "out"
    tally = analyse(photos, out, Analyser(RedFaces()), Wanted())
    said = read(out)
    pictures = {entry["picture"]: entry for entry in said["pictures"]}
    assert list(pictures) == ["broken.jpg", "deeper/none.png", "one.png", "two.png"]
    assert "not a readable image" in pictures["broken.jpg"]["error"]
    assert str(tmp_path) not in pictures["broken.jpg"]["error"]
    assert [len(pictures[name]["faces"]) for name in ("deeper/none.png", "one.png", "two.png")] == [0, 1, 2]
    assert pictures["one.png"]["size"] == [200, 240]
    np.testing.assert_allclose(pictures["one.png"]["faces"][0]["box"], [60, 60, 129, 129], atol=1)
    assert (said["complete"], said["analysed"], said["failed"], said["faces"]) == (True, 3, 1, 3)
    assert (tally.pictures, tally.faces, [name for name, _ in tally.failed]) == (3, 3, ["broken.jpg"])
    assert len((out / "faces.json").read_text().splitlines()) == 6  # one a picture: readable as it grows
    for name in ("deeper/none.png", "one.png", "two.png"):
        assert Image.open(out / pictures[name]["drawn"]).size[0] in (534, 640)
    page = (out / "index.html").read_text()
    assert page.count("data:image/jpeg") == 3
    assert "broken.jpg" in page
    assert "3 faces in 3 pictures" in page
    assert 'href="pictures/deeper/none.png.jpg"' in page
    assert page.count("face 0: 0.9") == 2
    assert page.count("face 1: 0.8") == 1
    with pytest.raises(InputError, match="faces.json is there already"):
        analyse(photos, out, Analyser(RedFaces()), Wanted())


def test_names_that_are_no_utf8_survive(tmp_path):
    name = os.fsdecode(b"caf\xe9 \xc3\xa9.png")
    (tmp_path / "photos").mkdir()
    Image.fromarray(photo_of(200, 240, (60, 60, 70, 95))).save(tmp_path / "photos" / name)
    (tmp_path / "photos" / name.replace("png", "jpg")).write_bytes(b"no picture")
    analyse(tmp_path / "photos", tmp_path / "out", Analyser(RedFaces()), Wanted())
    assert [entry["picture"] for entry in read(tmp_path / "out")["pictures"]] == [name.replace("png", "jpg"), name]
    assert b"caf%E9%20%C3%A9.png.jpg" in (tmp_path / "out" / "index.html").read_bytes()
    assert KnownFaces.read(tmp_path / "out" / "faces.json").of(name)


def test_what_is_not_wanted_is_not_written(photos, tmp_path):
    analyse(photos / "one.png", tmp_path / "out", Analyser(RedFaces()), Wanted(draws=False))
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["faces.json"]
    assert read(tmp_path / "out")["pictures"][0]["picture"] == "one.png"


def test_classes_of_the_pixels_are_a_picture(photos, tmp_path):
    parser = lambda pixels: np.full(pixels.shape[:2], Class.HAIR, np.uint8)  # noqa: E731
    analyse(photos / "two.png", tmp_path / "out", Analyser(RedFaces(), parser=parser), Wanted(draws=False))
    (entry,) = read(tmp_path / "out")["pictures"]
    classes = np.asarray(Image.open(tmp_path / "out" / entry["classes"]))
    assert classes.shape == (200, 300)
    assert set(np.unique(classes)) <= {0, Class.HAIR}
    assert max(face["mask"]["pixels"]["hair"] for face in entry["faces"]) <= (classes > 0).sum()


class StoppedAt:
    """An analyser during whose call number `number` Ctrl-C is pressed, or something fails."""

    def __init__(self, number, error):
        self.analyser, self.left, self.error, self.recogniser = Analyser(RedFaces()), number, error, None
        self.facts = self.analyser.facts

    def __call__(self, pixels, name):
        self.left -= 1
        if self.left == 0:
            raise self.error
        return self.analyser(pixels, name)


def test_ctrl_c_leaves_what_was_done_in_order(photos, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        analyse(photos, tmp_path / "out", StoppedAt(3, KeyboardInterrupt()), Wanted())
    said = read(tmp_path / "out")
    assert [entry["picture"] for entry in said["pictures"]] == ["broken.jpg", "deeper/none.png", "one.png"]
    assert (said["complete"], said["analysed"]) == (False, 2)
    assert "stopped before all were looked at" in (tmp_path / "out" / "index.html").read_text()


def test_a_job_that_is_ended_leaves_as_much(photos, tmp_path):
    with pytest.raises(SystemExit):
        analyse(photos, tmp_path / "out", StoppedAt(3, SystemExit(143)), Wanted(draws=False))
    assert (read(tmp_path / "out")["complete"], read(tmp_path / "out")["analysed"]) == (False, 2)


def test_a_picture_that_a_model_cannot_take_is_listed_and_the_next_is_looked_at(photos, tmp_path):
    tally = analyse(photos, tmp_path / "out", StoppedAt(2, InputError("no finite numbers")), Wanted(draws=False))
    assert (tally.pictures, tally.failed[1:]) == (2, [("one.png", "no finite numbers")])


def test_a_fault_leaves_no_half_file(photos, tmp_path):
    with pytest.raises(ZeroDivisionError):
        analyse(photos, tmp_path / "out", StoppedAt(3, ZeroDivisionError()), Wanted())
    assert not list((tmp_path / "out").glob("*.json*"))
    assert not list((tmp_path / "out").glob(".*"))


def test_what_cannot_be_written_is_not_called_unreadable(photos, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "pictures").write_text("a file where a folder should be")
    with pytest.raises(OSError, match="pictures"):
        analyse(photos, tmp_path / "out", Analyser(RedFaces()), Wanted())
    assert not (tmp_path / "out" / "faces.json").exists()


def test_a_file_that_goes_away_is_listed_and_a_folder_is_no_picture(photos, tmp_path):
    (photos / "folder.png").mkdir()
    assert [path.name for path in files_of(photos)] == ["broken.jpg", "none.png", "one.png", "two.png"]

    class Removing(StoppedAt):
        def __call__(self, pixels, name):
            (photos / "two.png").unlink(missing_ok=True)
            return self.analyser(pixels, name)

    tally = analyse(photos, tmp_path / "out", Removing(0, None), Wanted(draws=False))
    assert tally.failed[1:] == [("two.png", "No such file or directory")]


def test_nothing_that_works_is_an_error_that_says_why(photos, tmp_path):
    with pytest.raises(InputError, match="none of 1 could be read; of broken.jpg: not a readable image"):
        analyse(photos / "broken.jpg", tmp_path / "out", Analyser(RedFaces()), Wanted())
    assert read(tmp_path / "out")["failed"] == 1
    (tmp_path / "empty").mkdir()
    for source, words in (
        (tmp_path / "empty", "holds no pictures or videos"),
        (tmp_path / "absent", "does not exist"),
        (photos / "notes.txt", "is no picture or video"),
    ):
        with pytest.raises(InputError, match=words):
            files_of(source)
    for out in (photos, photos / "deeper" / "out"):
        with pytest.raises(InputError, match="its pictures would be looked at, too"):
            analyse(photos, out, Analyser(RedFaces()), Wanted())
    with pytest.raises(InputError, match="every 0"):
        Wanted(every=0)
    with pytest.raises(InputError, match="to compare faces give a recogniser"):
        analyse(photos, tmp_path / "out2", Analyser(RedFaces()), Wanted(compares=True))


def test_cosines_of_all_faces(photos, tmp_path, monkeypatch):
    rows = torch.nn.functional.normalize(torch.randn(9, 16, generator=torch.Generator().manual_seed(0)))
    given = iter(rows.split(1))
    analyser = Analyser(RedFaces(), recogniser=Embedder(lambda x: 3 * next(given), None, {"file": "r"}))
    analyse(photos, tmp_path / "out", analyser, Wanted(draws=False, compares=True))
    said = json.loads((tmp_path / "out" / "cosines.json").read_text())
    assert said["faces"] == ["one.png#0", "two.png#0", "two.png#1"]
    np.testing.assert_allclose(said["cosines"], (rows[:3] @ rows[:3].T).numpy(), atol=1e-5)
    embedding = read(tmp_path / "out")["pictures"][3]["faces"][1]["embedding"]
    np.testing.assert_allclose(embedding, rows[2].numpy(), atol=1e-6)
    monkeypatch.setattr(writing_module, "MOST_COMPARED", 2)
    tally = analyse(photos, tmp_path / "less", replace(analyser), Wanted(draws=False, compares=True))
    assert (len(tally.compared), tally.left_out_of_comparison) == (2, 1)


def test_the_page_does_not_grow_with_the_folder(photos, tmp_path, monkeypatch):
    monkeypatch.setattr(writing_module, "MOST_SHOWN", 2)
    analyse(photos, tmp_path / "out", Analyser(RedFaces()), Wanted())
    page = (tmp_path / "out" / "index.html").read_text()
    assert page.count("data:image/jpeg") == 2
    assert re.search(r"The first 2 pictures; all are in the folder", page)


def test_frames_of_a_video_have_numbers(tmp_path):
    av = pytest.importorskip("av")
    with av.open(str(tmp_path / "film.avi"), "w") as video:
        stream = video.add_stream("ffv1", rate=10)
        stream.width, stream.height, stream.pix_fmt = 160, 120, "bgr0"
        for number in range(5):
            frame = photo_of(160, 120, (20 + 10 * number, 30, 40, 90))
            for packet in stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")):
                video.mux(packet)
        for packet in stream.encode():
            video.mux(packet)
    analyse(tmp_path / "film.avi", tmp_path / "out", Analyser(RedFaces()), Wanted(every=2))
    said = read(tmp_path / "out")["pictures"]
    assert [entry["picture"] for entry in said] == ["film.avi/000000", "film.avi/000002", "film.avi/000004"]
    assert [round(entry["faces"][0]["box"][0]) for entry in said] == [20, 40, 60]
    assert (tmp_path / "out" / "pictures" / "film.avi" / "000004.jpg").is_file()


def test_what_was_found_can_be_given_back_as_known_faces(photos, tmp_path):
    analyse(photos, tmp_path / "first", Analyser(RedFaces()), Wanted(draws=False))
    known = KnownFaces.read(tmp_path / "first" / "faces.json")
    analyse(photos, tmp_path / "second", Analyser(known), Wanted(draws=False))
    first, second = (
        [
            [(face["box"], face["points"], face["score"]) for face in entry.get("faces", [])]
            for entry in said["pictures"]
        ]
        for said in (read(tmp_path / "first"), read(tmp_path / "second"))
    )
    assert second == first
    assert [len(faces) for faces in first] == [0, 0, 1, 2]
