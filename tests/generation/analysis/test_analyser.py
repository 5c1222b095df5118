"""Faces of a picture: all of them once, each with what the models given know; known faces exactly as they are given."""

import json

import numpy as np
import pytest
import torch

from generation.analysis.analyser import FIVE_POINTS, Analyser, find_faces, open_analyser
from generation.analysis.faces import Pose, notes_of
from generation.analysis.gender_age import open_gender_age
from generation.analysis.known import KnownFaces
from generation.analysis.landmarks import open_landmarks
from recognition.embedding.models import Embedder
from recognition.errors import InputError
from recognition.faces.alignment import TEMPLATE_52, align
from recognition.faces.detection import Face
from recognition.faces.opening import open_detector
from recognition.heads import draw_person, draw_scene, render
from recognition.heads.classes import Class
from tests.faces.pasted import paste, wall
from tests.faces.red_faces import RedFaces, photo_of
from tests.generation.analysis.stub_models import write_constant

SQUARES = ((30, 40, 60, 95), (150, 60, 100, 90), (330, 200, 40, 70))


def test_all_faces_the_surest_first_and_each_once():
    photo = photo_of(900, 700, *SQUARES)  # larger than a view: it is looked at as a whole and in more detail
    found = find_faces(RedFaces(), photo)
    assert [round(face.score, 2) for face in found] == [0.95, 0.90, 0.70]
    for face, (x, y, side, _) in zip(found, SQUARES):
        np.testing.assert_allclose(face.box_4, [x, y, x + side - 1, y + side - 1], atol=2)
    assert len(find_faces(RedFaces(), photo, min_score=0.8)) == 2
    assert len(find_faces(RedFaces(), photo, min_size=50)) == 2
    assert find_faces(RedFaces(), photo_of(200, 100)) == []


def test_a_small_face_of_a_large_picture_is_found_in_the_finer_view():
    photo = photo_of(1280, 900, (200, 200, 300, 95), (900, 300, 14, 90))  # 7 pixels in the coarse view
    assert len(find_faces(RedFaces(), photo)) == 2


class Twice:
    """Sees a face of 40 pixels in two places that hardly overlap, but only one where it is shown large."""

    def detect(self, pixels_HWC):
        faces = RedFaces().detect(pixels_HWC)
        if pixels_HWC.shape[1] == 200:
            beside = [Face(face.box_4 + np.float32(30), face.score - 0.1, face.points_52 + 30) for face in faces]
            return faces + beside
        return faces


def test_two_that_are_one_when_looked_at_closely_count_once():
    assert len(Twice().detect(photo_of(200, 200, (60, 60, 40, 90)))) == 2
    (face,) = find_faces(Twice(), photo_of(200, 200, (60, 60, 40, 90)))
    np.testing.assert_allclose(face.box_4, [60, 60, 99, 99], atol=1)


def test_a_face_that_fills_the_picture_is_found():
    assert len(find_faces(RedFaces(), photo_of(120, 120, (0, 0, 120, 90)))) == 1


def test_each_model_is_asked_of_each_face(tmp_path):
    photo = photo_of(500, 400, *SQUARES)
    fed = []

    def embed(x_BCHW):
        fed.append(x_BCHW)
        return torch.tensor([[3.0, 0.0, -4.0]])

    analyser = Analyser(
        RedFaces(),
        [open_landmarks(write_constant(tmp_path / "a.onnx", np.zeros(212), 192))],
        open_gender_age(write_constant(tmp_path / "g.onnx", [0, 1, 0.5], 96)),
        lambda pixels: np.full(pixels.shape[:2], Class.SKIN, np.uint8),
        Embedder(embed, (112, 112), {"file": "r.onnx"}),
    )
    faces = analyser(photo)
    assert len(faces) == 3
    for face, (x, y, side, _) in zip(faces, SQUARES):
        middle = (x + (side - 1) / 2, y + (side - 1) / 2)
        np.testing.assert_allclose(face.landmarks["106"].points_N2, np.tile(middle, (106, 1)), atol=1.5)
        assert (face.gender_age.gender, face.gender_age.age_years) == ("male", 50)
        np.testing.assert_allclose(face.embedding_D, [0.6, 0, -0.8], atol=1e-6)
        assert face.pose.by == FIVE_POINTS
        assert abs(face.pose.pitch_yaw_roll_deg[2]) < 5
        assert set(face.mask.counts()) == {"skin"}
    expected = align(photo, faces[1].points_52)
    np.testing.assert_allclose(fed[1][0].permute(1, 2, 0).numpy() * 127.5 + 127.5, expected, atol=1e-3)
    json.dumps(analyser.facts(), allow_nan=False)
    assert analyser.facts()["recogniser"] == {"file": "r.onnx"}
    largest = Analyser(RedFaces(), largest=True)(photo)
    assert [round(face.score, 2) for face in largest] == [0.9]
    assert (largest[0].landmarks, largest[0].gender_age, largest[0].embedding_D) == ({}, None, None)


def test_points_that_are_no_faces_give_no_pose_and_no_embedding():
    points = np.array([[10, 10], [60, 90], [20, 80], [90, 15], [12, 70]], np.float32)
    called = []
    analyser = Analyser(RedFaces(), parser=called.append, recogniser=Embedder(called.append, None))
    face = analyser.face(photo_of(100, 100), Face(np.array([0, 0, 99, 99], np.float32), 0.9, points))
    assert (face.pose, face.mask, face.embedding_D, called) == (None, None, None, [])
    assert face.notes == ("its five points are not arranged like a face's",)


def test_pose_of_the_model_in_space_goes_before_that_of_the_five_points(tmp_path):
    values = np.random.default_rng(0).uniform(-1, 1, 3309)
    model = open_landmarks(write_constant(tmp_path / "1k3d68.onnx", values, 192))
    (face,) = Analyser(RedFaces(), [model])(photo_of(200, 200, (60, 60, 80, 90)))
    assert face.pose.by == "1k3d68.onnx"


def test_notes_say_what_makes_a_face_worse():
    box, fine = np.array([10, 10, 50, 60], np.float32), Pose((0.0, 0.0, 0.0), "x")
    assert notes_of(box, 0.9, True, fine, (100, 100)) == ()
    assert notes_of(box, 0.9, True, None, (100, 55)) == ()
    assert notes_of(box, 0.55, True, Pose((-40.0, 50.0, 0.0), "x"), (55, 100)) == (
        "reaches beyond the picture",
        "the detector is not sure: 0.55",
        "turned by 50 degrees",
        "looks down by 40 degrees",
    )
    assert notes_of(np.array([10, 10, 30, 60]), 0.9, True, fine, (100, 100)) == ("small: 20 pixels",)


def test_known_faces_are_exactly_those_of_the_file(tmp_path):
    points = (TEMPLATE_52 / 2 + (100.25, 80.5)).tolist()
    content = {"a.png": [{"box": [90, 70, 160, 150], "points": points}, {"box": [1, 2, 30.5, 40]}], "b.png": None}
    (tmp_path / "known.json").write_text(json.dumps(content))
    analyser = open_analyser(detector=tmp_path / "known.json")
    first, second = analyser(photo_of(300, 200), "a.png")
    assert (first.box_4.tolist(), first.points_52.tolist()) == (
        [90, 70, 160, 150],
        np.array(points, np.float32).tolist(),
    )
    assert (second.box_4.tolist(), second.points_52, second.pose, second.notes) == (
        [1, 2, 30.5, 40],
        None,
        None,
        ("small: 30 pixels",),
    )
    assert analyser(photo_of(300, 200), "b.png") == []
    with pytest.raises(InputError, match="nothing is known of 'c.png'"):
        analyser(photo_of(300, 200), "c.png")


@pytest.mark.parametrize("content", ["[]", "{", '{"a": [{"box": [1, 2]}]}', '{"a": [3]}', '{"pictures": [{}]}'])
def test_files_of_known_faces_that_are_wrong(tmp_path, content):
    (tmp_path / "known.json").write_text(content)
    with pytest.raises(InputError, match="known.json is no file of faces"):
        KnownFaces.read(tmp_path / "known.json")
    with pytest.raises(InputError, match="absent.json cannot be read"):
        KnownFaces.read(tmp_path / "absent.json")


def test_models_that_do_not_fit_together(tmp_path):
    one = open_landmarks(write_constant(tmp_path / "a.onnx", np.zeros(212), 192))
    with pytest.raises(InputError, match="two models give 106 landmarks"):
        Analyser(RedFaces(), [one, one])
    with pytest.raises(InputError, match="min score 0.1"):
        Analyser(RedFaces(), min_score=0.1)
    with pytest.raises(InputError, match="give a detector, or a pack"):
        open_analyser()
    with pytest.raises(InputError, match="takes 96x112 pixels"):
        Analyser(RedFaces(), recogniser=Embedder(lambda x: x, (112, 96), {"file": "r"}))(
            photo_of(200, 200, (60, 60, 80, 90))
        )
    with pytest.raises(InputError, match="no embedding that has a direction"):
        Analyser(RedFaces(), recogniser=Embedder(lambda x: torch.zeros(1, 4), None, {"file": "r"}))(
            photo_of(200, 200, (60, 60, 80, 90))
        )


def test_a_real_detector_finds_six_drawn_heads_on_a_wall(shared_dir):
    path = shared_dir / "models" / "yunet_n_dynamic.onnx"
    if not path.is_file():
        pytest.skip(f"no {path}")
    picture, truth = wall(700, 480), []
    for number, (x, y, scale, angle) in enumerate(
        [
            (100, 110, 1.4, 0),
            (330, 100, 1.0, 12),
            (560, 120, 1.6, -8),
            (110, 350, 1.2, 5),
            (340, 340, 1.8, 0),
            (580, 350, 0.9, -15),
        ]
    ):
        head = render(draw_person(7, number), draw_scene(7, number), 112)
        picture = paste(picture, head.pixels_HWC, x, y, scale, angle)
        truth.append((x, y))
    found = find_faces(open_detector(path, min_score=0.3), picture)
    middles = np.stack([face.center_2 for face in found])
    nearest = {int(np.linalg.norm(middles - place, axis=1).argmin()) for place in truth}
    assert (len(found), len(nearest)) == (6, 6)
    assert max(np.linalg.norm(middles - place, axis=1).min() for place in truth) < 40
