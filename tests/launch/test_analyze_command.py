"""launch/analyze.py as a user starts it."""

import json
import socket

import numpy as np
import pytest
from PIL import Image

from launch import analyze
from recognition.heads import draw_person, draw_scene, render
from tests.commands import run
from tests.faces.small_models import write_yunet
from tests.generation.analysis.stub_models import write_constant

FIND = {(8, 9): (0.9, 0.9, [0.5, 0.5, 1.2, 1.2], [0.1, 0.1, 1.9, 0.1, 1.0, 1.0, 0.3, 1.8, 1.7, 1.8])}


@pytest.fixture
def photo(tmp_path):
    Image.fromarray(np.full((64, 64, 3), 99, np.uint8)).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


def test_a_detector_alone_is_enough(photo, tmp_path, monkeypatch, capfd):
    detector = write_yunet(tmp_path / "d.onnx", FIND)
    assert run(analyze, photo, "--out", tmp_path / "out", "--detector", detector, monkeypatch=monkeypatch) == 0
    assert "1 faces in 1 pictures" in capfd.readouterr().out
    (entry,) = json.loads((tmp_path / "out" / "faces.json").read_text())["pictures"]
    assert len(entry["faces"]) == 1
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"faces.json", "index.html", "pictures"}


def test_all_models_of_a_folder_like_a_pack(photo, tmp_path, monkeypatch, capfd):
    folder = tmp_path / "mine"
    folder.mkdir()
    write_yunet(folder / "det_10g.onnx", FIND)
    write_constant(folder / "2d106det.onnx", np.zeros(212), 192)
    write_constant(folder / "1k3d68.onnx", np.random.default_rng(0).uniform(-1, 1, 3309), 192)
    write_constant(folder / "genderage.onnx", [0.1, 0.2, 0.4], 96)
    write_constant(folder / "w600k_r50.onnx", np.linspace(-1, 1, 64), 112)
    words = (photo, "--out", tmp_path / "out", "--pack", folder, "--compare", "--no-pictures", "--largest")
    assert run(analyze, *words, monkeypatch=monkeypatch) == 0
    (entry,) = json.loads((tmp_path / "out" / "faces.json").read_text())["pictures"]
    (face,) = entry["faces"]
    assert set(face["landmarks"]) == {"106", "68 in 3D"}
    assert face["gender"] == {"value": "male", "margin": 0.1, "by": "genderage.onnx"}
    assert face["age_years"]["value"] == 40
    assert face["pose"]["by"] == "1k3d68.onnx"
    assert len(face["embedding"]) == 64
    assert json.loads((tmp_path / "out" / "cosines.json").read_text())["cosines"] == [[1.0]]


def test_wrong_files_in_wrong_roles_are_one_clear_line(photo, tmp_path, monkeypatch, capfd):
    detector = write_yunet(tmp_path / "d.onnx", FIND)
    landmarks = write_constant(tmp_path / "l.onnx", np.zeros(212), 192)
    for words, said in (
        (("--detector", detector, "--landmarks", detector), "no model for 106 or 68 landmarks"),
        (("--detector", landmarks), "no face detector"),
        (("--detector", detector, "--attributes", landmarks), "no model for gender and age"),
        (("--detector", detector, "--recogniser", detector), "d.onnx"),
        (("--detector", "yunet"), "face_detection_yunet_2023mar.onnx (yunet: detection, 5 points) is not there"),
        (("--pack", "buffalo_l", "--root", tmp_path), "det_10g.onnx of buffalo_l (detection) is not there"),
        ((), "give a detector, or a pack"),
    ):
        monkeypatch.setenv("HOME", str(tmp_path / "home"))
        assert run(analyze, photo, "--out", tmp_path / "out", *words, monkeypatch=monkeypatch) == 2
        error = capfd.readouterr().err
        assert said in error
        assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()
    assert run(analyze, photo, monkeypatch=monkeypatch) == 2
    assert "--out DIR" in capfd.readouterr().err


def test_the_list_of_models_needs_no_network(tmp_path, monkeypatch, capfd):
    def refused(*words, **options):
        raise AssertionError("a connection was attempted")

    monkeypatch.setattr(socket.socket, "connect", refused)
    monkeypatch.setattr(socket, "getaddrinfo", refused)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert run(analyze, "--models", monkeypatch=monkeypatch) == 0
    said = capfd.readouterr().out
    for words in ("buffalo_l", "yunet", "79999_iter.pth", "gdown 154JgKpzCPW82qINcVieuPH3fZ2e0P812", "not here"):
        assert words in said


def test_real_models_on_drawn_heads(shared_dir, tmp_path, monkeypatch, capfd):
    files = {name: shared_dir / "models" / name for name in ("yunet_n_dynamic.onnx", "pfld68_cunjian.onnx")}
    if not all(path.is_file() for path in files.values()):
        pytest.skip(f"no {', '.join(map(str, files.values()))}")
    heads = [render(draw_person(5, number), draw_scene(5, number), 200) for number in range(3)]
    Image.fromarray(np.concatenate([head.pixels_HWC for head in heads], 1)).save(tmp_path / "heads.png")
    detector, landmarks = files.values()
    words = (tmp_path / "heads.png", "--out", tmp_path / "out", "--detector", detector, "--landmarks", landmarks)
    assert run(analyze, *words, monkeypatch=monkeypatch) == 0
    (entry,) = json.loads((tmp_path / "out" / "faces.json").read_text())["pictures"]
    faces = sorted(entry["faces"], key=lambda face: face["box"][0])
    assert len(faces) == 3
    for number, (face, head) in enumerate(zip(faces, heads)):
        truth = head.points_52 + (200 * number, 0)
        eyes = np.linalg.norm(truth[1] - truth[0])
        assert np.linalg.norm(np.array(face["points"]) - truth, axis=1).mean() < 0.15 * eyes
        assert len(face["landmarks"]["68"]["points"]) == 68


def test_real_pictures_of_people(shared_dir, tmp_path, monkeypatch, capfd):
    people, detector = shared_dir / "data" / "utkface", shared_dir / "models" / "yunet_n_dynamic.onnx"
    if not (detector.is_file() and people.is_dir()):
        pytest.skip(f"no {people} or {detector}")
    (tmp_path / "few").mkdir()
    for path in sorted(people.glob("*.jpg"))[:8]:
        (tmp_path / "few" / path.name).symlink_to(path)
    words = (tmp_path / "few", "--out", tmp_path / "out", "--detector", detector, "--no-pictures")
    assert run(analyze, *words, monkeypatch=monkeypatch) == 0
    pictures = json.loads((tmp_path / "out" / "faces.json").read_text())["pictures"]
    assert len(pictures) == 8
    assert sum(len(entry["faces"]) == 1 for entry in pictures) >= 7
