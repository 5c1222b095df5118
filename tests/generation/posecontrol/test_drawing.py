"""Drawn sets: poses and points as the pictures show them, one thing changed at a time, the same on any machine."""

import hashlib

import numpy as np
import pytest
import torch
from PIL import Image

from generation.pose import geodesic_deg, pose_from_points3, rotation_matrices
from generation.posecontrol.drawing import DrawnSet, draw_set, in_crop
from generation.posecontrol.pose_set import read_pose_set
from launch import poses
from recognition.errors import InputError
from recognition.heads import aligned, draw_person, draw_scene, render
from tests.commands import run


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    folder = tmp_path_factory.mktemp("drawn") / "set"
    draw_set(folder, DrawnSet(people=3, frames=6, size=32, seed=2), workers=1, masks=True)
    return folder


def test_pictures_sources_and_targets(drawn):
    pose_set = read_pose_set(drawn)
    assert len(pose_set.front.paths) == 3
    assert len(pose_set.video.paths) == 18
    assert all(Image.open(path).size == (32, 32) for path in pose_set.video.paths)
    assert np.abs(pose_set.front.pose_N3[:, :2]).max() <= 8
    yaws = pose_set.video.pose_N3[:6, 1]
    assert (np.diff(yaws) > 0).all()
    assert np.abs(yaws).max() <= 75
    masks = [np.asarray(Image.open(drawn / "masks" / path.relative_to(drawn))) for path in pose_set.front.paths]
    assert all(mask.shape == (32, 32) and len(np.unique(mask)) > 5 for mask in masks)


def test_the_points_have_the_pose_that_is_written(drawn):
    """Against the same person's points when frontal, which differ from person to person."""
    pose_set = read_pose_set(drawn)
    for number in range(3):
        frontal = render(draw_person(2, number), draw_scene(2, number).__class__(), 16).points_53
        # Smiles move the corners of the mouth: eyes and nose alone say the pose of a drawn set.
        rows = [row for row, who in enumerate(pose_set.video.people) if who == f"p{number:05d}"]
        found = pose_from_points3(
            torch.from_numpy(np.asarray(pose_set.video.points_N53[rows][:, :3], np.float64)),
            torch.from_numpy(frontal[:3]),
        )
        wanted = torch.from_numpy(pose_set.video.pose_N3[rows])
        assert geodesic_deg(rotation_matrices(found), rotation_matrices(wanted)).max() < 1.5


def test_alignment_turns_the_picture_and_so_the_roll():
    """The points in the picture are those in space, seen from a camera that is turned with the crop."""
    person, scene = draw_person(0, 1), draw_scene(0, 4)
    picture = aligned(person, scene, 64)
    pose_deg, points_53 = in_crop(picture, scene)
    assert pose_deg[:2].tolist() == pytest.approx(list(scene.pose_deg[:2]))
    assert abs(pose_deg[2] - scene.pose_deg[2]) > 1
    nearer = scene.distance_dm / (scene.distance_dm - points_53[:, 2:])
    seen = points_53[:, :2] * nearer
    seen, shown = seen - seen.mean(0), picture.points_52 - picture.points_52.mean(0)
    scale = (seen * shown).sum() / (seen * seen).sum()
    assert np.abs(seen * scale - shown).max() < 1e-4


def test_in_a_fixed_scene_nothing_but_the_pose_changes(tmp_path):
    one = DrawnSet(people=2, fronts=2, frames=1, size=32, widest_yaw_deg=0, widest_pitch_deg=0, front_within_deg=0)
    draw_set(tmp_path / "fixed", one, workers=1)
    draw_set(tmp_path / "varied", DrawnSet(**{**one.__dict__, "scene": "varied"}), workers=1)
    same = {}
    for kind in ("fixed", "varied"):
        pose_set = read_pose_set(tmp_path / kind)
        first, second, target = (
            np.asarray(Image.open(path)) for path in (*pose_set.front.paths[:2], pose_set.video.paths[0])
        )
        same[kind] = np.array_equal(first, second) and np.array_equal(first, target)
    assert same == {"fixed": True, "varied": False}


def test_the_same_seed_draws_the_same_on_any_number_of_processes(tmp_path):
    digests = []
    for name, workers, seed in (("a", 1, 0), ("b", 2, 0), ("c", 1, 1)):
        draw_set(tmp_path / name, DrawnSet(people=2, frames=2, size=16, seed=seed), workers=workers)
        files = sorted(path for path in (tmp_path / name).rglob("*") if path.is_file())
        digests.append(hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest())
    assert digests[0] == digests[1] != digests[2]


def test_the_command(tmp_path, monkeypatch, capfd):
    words = ("draw", tmp_path / "set", "--people", 2, "--frames", 2, "--size", 16, "--workers", 1)
    assert run(poses, *words, monkeypatch=monkeypatch) == 0
    assert "2 people, 2 sources and 4 targets" in capfd.readouterr().out
    assert run(poses, *words, monkeypatch=monkeypatch) == 2
    assert "already exists" in capfd.readouterr().err


@pytest.mark.parametrize(
    "wrong", [{"people": 1}, {"size": 8}, {"widest_yaw_deg": 100}, {"scene": "else"}, {"frames": 0}]
)
def test_what_cannot_be_drawn(wrong):
    with pytest.raises(InputError):
        DrawnSet(**wrong)
