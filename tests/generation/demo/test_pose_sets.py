"""The sets of the demonstration of turned faces: who is in them, and from which side they are seen."""

import numpy as np

from generation.demo import pose_sets
from generation.demo.pose_sets import Shot, drawn, write_sets
from recognition.data.decode import decoded
from recognition.data.sources import open_source
from recognition.heads import aligned
from recognition.verification.pairs import load_pairs


def test_what_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(pose_sets, "PICTURES", 2)
    write_sets(tmp_path / "sets", seed=0, people=3, pairs=20, workers=1)
    source = open_source(tmp_path / "sets" / "frontal")
    assert source.labels().tolist() == [0, 0, 1, 1, 2, 2]
    for name in ("frontal_profile", "frontal_frontal"):
        pairs = load_pairs(tmp_path / "sets" / "pairs" / f"{name}.bin")
        assert pairs.issame.tolist() == [True, False] * 10
        assert pairs.images[0].shape == (32, 32, 3)


def test_yaws_lie_where_they_should(monkeypatch):
    seen = []

    def spy(person, scene, size):
        seen.append(scene.pose_deg[1])
        return aligned(person, scene, size)

    monkeypatch.setattr(pose_sets, "aligned", spy)
    for scene in range(40):
        drawn(0, Shot(1, 0, scene, (40.0, 75.0)))
    assert all(40 <= abs(yaw) <= 75 for yaw in seen)
    assert min(seen) < 0 < max(seen)


def test_a_shot_is_the_same_each_time_and_people_differ():
    shots = [Shot(1, 0, 5, (0.0, 15.0)), Shot(1, 0, 5, (0.0, 15.0)), Shot(1, 1, 5, (0.0, 15.0))]
    first, second, other = (drawn(0, shot) for shot in shots)
    assert first == second != other
    assert np.abs(decoded(first, lambda: "").astype(int) - decoded(other, lambda: "")).mean() > 3
