"""Pose sets of photos and videos: poses near those that drawn heads truly have, and reasons for what is left out."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from generation.pose import geodesic_deg, rotation_matrices
from generation.posecontrol.building import Building, build_set
from generation.posecontrol.pose_set import read_pose_set
from launch import poses
from recognition.errors import InputError
from recognition.faces.alignment import template_points
from recognition.faces.detection import Face
from recognition.faces.photos import Aligner
from recognition.heads import draw_person, draw_scene, render
from tests.commands import run

SIDE = 192


class KnownPoints:
    """A detector that knows the pictures it was told of, and finds nothing in others."""

    def __init__(self):
        self.faces = {}

    def learn(self, picture):
        box_4, points_52 = picture.box_4.astype(np.float32), picture.points_52.astype(np.float32)
        self.faces[picture.pixels_HWC.tobytes()] = Face(box_4, 0.9, points_52)

    def detect(self, pixels_HWC):
        found = self.faces.get(np.ascontiguousarray(pixels_HWC).tobytes())
        return [] if found is None else [found]


def picture_of(number, pose_deg):
    """A head and shoulders; the camera is far, so that what five points can say is right."""
    scene = replace(draw_scene(4, number), pose_deg=pose_deg, distance_dm=40.0, smile=0.0, mouth_open=0.0)
    return render(draw_person(4, number), scene, SIDE)


@pytest.fixture
def photos(tmp_path):
    """Two people with four photos each, one of them turned in its plane; a third who never looks to the front."""
    detector, truth = KnownPoints(), {}
    angles = [(2.0, 3.0, 0.0), (5.0, 40.0, 0.0), (-10.0, -55.0, 0.0), (0.0, 20.0, 30.0)]
    for number, wanted in ((0, angles), (1, angles), (2, angles[1:3])):
        for index, pose_deg in enumerate(wanted):
            picture = picture_of(number, pose_deg)
            path = tmp_path / "photos" / f"p{number}" / f"{index}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture.pixels_HWC).save(path)
            detector.learn(picture)
            truth[f"p{number}", index] = pose_deg
    Image.new("RGB", (64, 64)).save(tmp_path / "photos" / "p0" / "nobody.png")
    (tmp_path / "photos" / "p1" / "broken.jpg").write_bytes(b"no picture")
    return tmp_path / "photos", detector, truth


def building(detector, **how):
    return Building(Aligner(detector, size=how.get("size", 112)), **how)


def test_poses_are_near_the_truth_and_failures_are_listed(photos, tmp_path):
    source, detector, truth = photos
    built = build_set(source, tmp_path / "set", building(detector, crop="none"))
    pose_set = read_pose_set(tmp_path / "set")
    assert pose_set.people() == ["p0", "p1"]
    assert len(pose_set.video.paths) == 8
    # Those that look to the front: the one turned by 20 degrees is no source.
    assert pose_set.front.people == ("p0", "p1")
    wanted = torch.tensor([truth[who, index] for who in ("p0", "p1") for index in range(4)], dtype=torch.float64)
    found = torch.from_numpy(pose_set.video.pose_N3)
    apart_deg = geodesic_deg(rotation_matrices(found), rotation_matrices(wanted))
    # Each has a nose of their own, and the standard face one: measured here, 4.3 on average for the second person.
    assert apart_deg.mean() < 8
    assert apart_deg[4:].mean() < 5
    assert [row.frame for row in built.rows["video"]] == [None] * 8
    failed = json.loads((tmp_path / "set" / "video_failed_images.json").read_text())
    assert {entry["image"]: entry["reason"].partition(":")[0] for entry in failed} == {
        "p0/nobody.png": "no face",
        "p1/broken.jpg": "unreadable",
    }
    (front,) = json.loads((tmp_path / "set" / "front_failed_images.json").read_text())
    assert front["person_name"] == "p2"
    assert front["reason"].startswith("no frontal picture: 4")


@pytest.mark.parametrize("crop", ["points", "box"])
def test_crops_show_their_points_and_pose(photos, tmp_path, crop):
    """In an aligned crop a head that leaned stands upright, which its roll says; its points are on the template."""
    source, detector, _ = photos
    built = build_set(source, tmp_path / "set", building(detector, crop=crop, size=64))
    leaning = built.rows["video"][3]
    assert leaning.size == (64, 64)
    assert Image.open(tmp_path / "set" / leaning.path).size == (64, 64)
    roll = leaning.pose_deg[2]
    if crop == "points":
        assert abs(roll) < 15
        assert np.abs(built.rows["video"][0].points_52 - template_points(64)).mean() < 2
    else:
        assert roll == pytest.approx(30, abs=12)
        x1, y1, x2, y2 = leaning.box_4
        assert max(x2 - x1, y2 - y1) == pytest.approx(64 / 1.2, abs=0.1)


def test_frames_of_a_video(photos, tmp_path):
    av = pytest.importorskip("av")
    _, detector, _ = photos
    (tmp_path / "videos").mkdir()
    frames = [picture_of(5, (0.0, yaw, 0.0)) for yaw in (0.0, 20.0, 40.0, 60.0)]
    with av.open(str(tmp_path / "videos" / "p5.avi"), "w") as video:
        stream = video.add_stream("ffv1", rate=10)  # loses nothing, so that the detector knows the frames again
        stream.width = stream.height = SIDE
        stream.pix_fmt = "bgr0"
        for each in frames:
            detector.learn(each)
            for packet in stream.encode(av.VideoFrame.from_ndarray(each.pixels_HWC, format="rgb24")):
                video.mux(packet)
        for packet in stream.encode():
            video.mux(packet)
    (tmp_path / "videos" / "broken.mp4").write_bytes(b"no video")
    built = build_set(tmp_path / "videos", tmp_path / "set", building(detector, every=2))
    assert [row.frame for row in built.rows["video"]] == ["000000", "000002"]
    assert [row.person for row in built.rows["video"]] == ["p5", "p5"]
    (failed,) = built.failed["video"]
    assert failed["person_name"] == "broken"
    assert failed["reason"].startswith("unreadable")


def test_where_nothing_can_be_used_nothing_is_left(photos, tmp_path):
    source, _, _ = photos
    with pytest.raises(InputError, match=r"no picture could be used \(no face.*unreadable"):
        build_set(source, tmp_path / "set", building(KnownPoints()))
    assert not (tmp_path / "set").exists()


@pytest.mark.parametrize(
    ("make", "said"), [(False, "is no folder"), (True, "neither folders with pictures nor videos")]
)
def test_a_source_that_is_none(tmp_path, make, said):
    if make:
        (tmp_path / "photos").mkdir()
    with pytest.raises(InputError, match=said):
        build_set(tmp_path / "photos", tmp_path / "set", building(KnownPoints()))


def test_the_command_wants_a_detector(tmp_path, monkeypatch, capfd):
    assert run(poses, "build", tmp_path, tmp_path / "set", monkeypatch=monkeypatch) == 2
    assert "--detector FILE.onnx is missing" in capfd.readouterr().err


def test_the_command_with_a_real_detector(photos, tmp_path, shared_dir, monkeypatch, capfd):
    """YuNet finds drawn heads; poses are then within what five points of a network can say."""
    source, _, truth = photos
    model = shared_dir / "models" / "yunet_n_dynamic.onnx"
    words = ("build", source, tmp_path / "set", "--detector", model, "--crop", "none", "--min-score", 0.4)
    assert run(poses, *words, monkeypatch=monkeypatch) == 0
    assert "built: " in capfd.readouterr().out
    pose_set = read_pose_set(tmp_path / "set")
    assert len(pose_set.video.paths) >= 6
