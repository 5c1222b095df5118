"""Pairs against brute force; splits in which a person is in one part only, the same for the same seed."""

import json

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from generation.posecontrol.pairs import Split, pairs_of, read_split, split_people
from generation.posecontrol.pose_set import PoseSet, Views, read_pose_set
from recognition.errors import InputError


def views(people, poses):
    return Views(tuple(people), ("",) * len(people), np.array(poses, float), np.zeros((len(people), 5, 3)))


def test_pairs_are_those_of_brute_force():
    draw = np.random.default_rng(0)
    people = [[f"p{number}" for number in draw.integers(0, 5, count)] for count in (13, 31)]
    front, video = (views(names, draw.uniform(-60, 60, (len(names), 3))) for names in people)
    pairs = pairs_of(PoseSet(front, video, (), ""), ["p0", "p2", "p4"], min_angle_deg=20, max_angle_deg=70)
    wanted = []
    for i, who in enumerate(front.people):
        for j, other in enumerate(video.people):
            turns = [
                Rotation.from_euler("xyz", each.pose_N3[at], degrees=True) for each, at in ((front, i), (video, j))
            ]
            angle = np.rad2deg((turns[0].inv() * turns[1]).magnitude())
            if who == other and who in ("p0", "p2", "p4") and 20 <= angle <= 70:
                wanted.append((i, j, angle))
    assert [(i, j) for i, j, _ in wanted] == list(zip(pairs.front_P.tolist(), pairs.video_P.tolist()))
    assert pairs.angle_P.tolist() == pytest.approx([angle for _, _, angle in wanted])


def test_no_pairs_of_nobody(data):
    assert len(pairs_of(read_pose_set(data), []).front_P) == 0


@pytest.mark.parametrize(("count", "sizes"), [(100, (70, 15, 15)), (6, (4, 1, 1)), (3, (1, 1, 1)), (2, (1, 1, 0))])
def test_splits(count, sizes):
    people = [f"p{number}" for number in range(count)]
    split = split_people(people, seed=1)
    parts = split.train, split.val, split.test
    assert tuple(map(len, parts)) == sizes
    assert sorted(name for part in parts for name in part) == sorted(people)
    assert split == split_people(reversed(people), seed=1)
    if count == 100:
        assert split.val != split_people(people, seed=2).val


def test_one_person_cannot_be_split():
    with pytest.raises(InputError, match="1 person"):
        split_people(["p0", "p0"], seed=0)


def test_a_split_is_written_and_read(data, tmp_path):
    split = split_people([f"p{number}" for number in range(6)], seed=3)
    split.write(tmp_path / "split.json")
    assert read_split(tmp_path / "split.json", read_pose_set(data)) == split


@pytest.mark.parametrize(
    ("split", "said"),
    [
        (Split(("p0", "p1"), ("p1",), (), 0), "'p1' is in train and in val"),
        (Split(("p0",), ("p9",), (), 0), "'p9' in val is not in the set"),
        (Split(("p0",), (), (), 0), "nobody is to val"),
    ],
)
def test_a_split_that_does_not_fit(data, tmp_path, split, said):
    split.write(tmp_path / "split.json")
    with pytest.raises(InputError, match=said):
        read_split(tmp_path / "split.json", read_pose_set(data))


@pytest.mark.parametrize(
    "content", [[], {}, {"train": 3, "val": [], "test": []}, {"train": [1], "val": [], "test": []}]
)
def test_what_is_no_split(data, tmp_path, content):
    (tmp_path / "split.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"split.json is no split"):
        read_split(tmp_path / "split.json", read_pose_set(data))
