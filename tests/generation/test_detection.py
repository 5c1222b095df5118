"""Faces of a batch: the largest that a detector finds, or those that are known by name; nothing is downloaded."""

import json
import socket
from pathlib import Path

import numpy as np
import pytest
import torch

from generation.detection import DetectorFinder, Found, PrecomputedFinder, open_finder
from generation.packs import PACKS
from recognition.errors import InputError
from recognition.faces.alignment import TEMPLATE_52
from recognition.faces.opening import open_detector
from tests.faces.red_faces import RedFaces, photo_of
from tests.faces.small_models import write_scrfd


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    """Whatever opens a connection fails the test."""

    def refused(*words, **options):
        raise AssertionError(f"a connection was attempted: {words}")

    for name in ("connect", "connect_ex", "sendto"):
        monkeypatch.setattr(socket.socket, name, refused)
    monkeypatch.setattr(socket, "getaddrinfo", refused)


def test_the_largest_face_of_each_picture_and_none_where_there_is_none():
    pictures = np.stack([photo_of(200, 180, (85, 70, 30, 95), (130, 110, 60, 80)), photo_of(200, 180)])
    full = photo_of(200, 180, (0, 0, 200, 90))[:180]  # a face that fills the picture is found with a border round it
    img01 = torch.from_numpy(np.concatenate([pictures, full[None]])).permute(0, 3, 1, 2) / 255
    found = DetectorFinder(RedFaces())(img01.requires_grad_())
    assert (found[1], found[0].box_4.tolist()) == (None, [130, 110, 189, 169])
    np.testing.assert_allclose(found[0].points_52, [130, 110] + TEMPLATE_52 / 112 * 59, atol=0.5)
    np.testing.assert_allclose(found[2].box_4, [0, 0, 199, 179], atol=3)
    assert not found[0].box_4.requires_grad
    wild = torch.full((1, 3, 64, 64), torch.nan)
    wild[:, 1, :32] = 7.0
    assert DetectorFinder(RedFaces())(wild) == [None]


def test_known_faces_are_found_by_the_names_of_their_pictures(tmp_path):
    points = [[1, 2], [3, 4], [5, 6], [7, 8], [9, 10.5]]
    content = {"a": {"box": [1, 2, 30, 40], "points": points}, "b": None, "c": {"box": [0, 0, 5, 5]}}
    (tmp_path / "boxes.json").write_text(json.dumps(content))
    finder = open_finder(tmp_path / "boxes.json")
    first, second, third = finder(torch.zeros(3, 3, 8, 8), ["a", "c", "b"])
    assert (first.box_4.tolist(), first.points_52.tolist()) == ([1, 2, 30, 40], points)
    assert (second.points_52, third) == (None, None)
    with pytest.raises(InputError, match=r"boxes.json: nothing is known of 'd'"):
        finder(torch.zeros(1, 3, 8, 8), ["d"])
    for keys in (None, ["a"]):
        with pytest.raises(InputError, match="these 2 pictures have none"):
            finder(torch.zeros(2, 3, 8, 8), keys)
    assert PrecomputedFinder({"x": Found(torch.zeros(4))})(torch.zeros(1, 3, 8, 8), ["x"])[0].score == 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[]", "it is no object of names"),
        ("{", "is no file of boxes"),
        ('{"a": {"box": [5, 5, 5, 9]}}', "the box of 'a' is"),
        ('{"a": {"box": [1, 2, 3]}}', "the box of 'a' is"),
        ('{"a": {"points": []}}', "is no file of boxes \\('box'\\)"),
        ('{"a": {"box": [1, 2, 3, 4], "points": [[1, 2]]}}', "the points of 'a' are"),
        ('{"a": {"box": [1, 2, 3, 4], "points": [[1, 2], [1, 2], [1, 2], [1, 2], [1, NaN]]}}', "the points of 'a' are"),
    ],
)
def test_files_of_boxes_that_are_wrong(content, message, tmp_path):
    (tmp_path / "boxes.json").write_text(content)
    with pytest.raises(InputError, match=f"boxes.json .*{message}"):
        open_finder(tmp_path / "boxes.json")
    with pytest.raises(InputError, match=r"absent.json cannot be read \(No such file"):
        open_finder(tmp_path / "absent.json")


def test_packs_are_found_where_insightface_puts_them(tmp_path, monkeypatch):
    finds = {(8, 0): (0.9, [1, 1, 4, 5], np.arange(10))}
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for place, spec, root in (
        ("home/.insightface/models/buffalo_l", "buffalo_l", None),
        ("root/models/buffalo_l", "buffalo_l", tmp_path / "root"),
        ("other/buffalo_l", "buffalo_l", tmp_path / "other"),
        ("nested/models/antelopev2/antelopev2", "antelopev2", tmp_path / "nested"),
        ("mine", tmp_path / "mine", None),
    ):
        name = "scrfd_10g_bnkps.onnx" if "antelope" in place else "det_10g.onnx"
        (tmp_path / place).mkdir(parents=True)
        file = write_scrfd(tmp_path / place / name, finds)
        assert repr(open_finder(spec, root).detector) == repr(open_detector(file))


@pytest.mark.parametrize("name", PACKS)
def test_a_pack_that_is_not_there_is_one_line_that_names_all(name, tmp_path):
    with pytest.raises(InputError) as raised:
        open_finder(name, tmp_path)
    text = str(raised.value)
    pack = PACKS[name]
    for part in (
        pack.files["detection"],
        str(tmp_path / "models" / name),
        str(tmp_path / name),
        pack.source,
        "non-comm",
    ):
        assert part in text
    assert "\n" not in text
    with pytest.raises(InputError, match=r"nonsense is no pack known here \(buffalo_l"):
        open_finder("nonsense", tmp_path)
    with pytest.raises(InputError, match="no folder with one of"):
        open_finder(tmp_path)


def test_real_detectors_find_real_faces(shared_dir):
    from recognition.verification import load_pairs

    pairs = load_pairs(shared_dir / "data" / "lfw" / "train" / "lfw_dev.bin", progress=False)
    img01 = torch.from_numpy(pairs.images[:8]).permute(0, 3, 1, 2) / 255
    found = open_finder(Path(shared_dir) / "models" / "yunet_n_dynamic.onnx")(img01)
    assert all(face is not None for face in found)
    eyes = torch.stack([face.points_52[:2] for face in found])
    # These are aligned already: eyes lie where the template has them, to the detector's own accuracy.
    assert (eyes - torch.tensor([[38.3, 51.7], [73.5, 51.5]])).abs().mean() < 4
