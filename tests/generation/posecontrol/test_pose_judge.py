"""The judge of poses: learns, is stored with what it is, and refuses what it is not."""

import shutil
from dataclasses import replace

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from generation.pictures import batch_of, read_pixels
from generation.posecontrol.pairs import Split
from generation.posecontrol.pose_judge import PoseJudge, train_judge
from generation.posecontrol.pose_set import read_pose_set
from launch import poses
from recognition.errors import InputError
from tests.commands import run


@pytest.fixture(scope="module")
def judge(data):
    pose_set = read_pose_set(data)
    people = tuple(pose_set.people())
    return train_judge(pose_set, people[:5], people[5:], image_size=32, steps=60, seed=0, say=lambda _: None)


def test_it_learns(judge):
    """Poses of the set are about 45 degrees from frontal on average: who says so always errs as much."""
    assert judge.facts["error_deg"] < 25
    assert judge.facts["people"] == 5
    assert judge.facts["pictures"] == 20


def test_it_is_stored_and_opened(judge, data, tmp_path):
    judge.save(tmp_path / "judge.safetensors")
    opened = PoseJudge.open(tmp_path / "judge.safetensors")
    pose_set = read_pose_set(data)
    img01 = batch_of([read_pixels(path, 32, fills=True) for path in pose_set.video.paths[:3]])
    assert torch.equal(opened(img01), judge(img01))
    assert opened.facts == judge.facts
    assert not opened.training
    # Of another size, pictures are resized.
    assert opened(torch.rand(1, 3, 64, 64)).shape == (1, 3)


def test_what_is_no_judge(tmp_path):
    save_file({"a": torch.zeros(1)}, tmp_path / "other.safetensors")
    (tmp_path / "damaged.safetensors").write_bytes(b"no tensors")
    for name, said in (("other", "is no judge of poses"), ("damaged", "cannot be read"), ("none", "does not exist")):
        with pytest.raises(InputError, match=said):
            PoseJudge.open(tmp_path / f"{name}.safetensors")


def test_one_whose_tensors_are_others(judge, tmp_path):
    judge.save(tmp_path / "judge.safetensors")
    with safe_open(tmp_path / "judge.safetensors", "pt") as file:
        metadata = file.metadata()
    for name, state in (("few", {"a": torch.zeros(1)}), ("size", judge.state_dict())):
        changed = {key: value.replace('"image_size": 32', '"image_size": 64') for key, value in metadata.items()}
        save_file(state, tmp_path / f"{name}.safetensors", metadata=changed)
        with pytest.raises(InputError, match="is damaged"):
            PoseJudge.open(tmp_path / f"{name}.safetensors")


def test_it_knows_whom_it_has_seen(judge, data):
    pose_set = read_pose_set(data)
    people = pose_set.people()
    assert judge.has_seen(people, pose_set) == {*people[:5]}
    assert judge.has_seen(people[5:], pose_set) == set()
    assert judge.has_seen(people, replace(pose_set, sha256="another set")) == set()


def test_the_split_of_the_set_counts_as_it_does_for_a_run(data, tmp_path, monkeypatch):
    other = shutil.copytree(data, tmp_path / "data")
    people = tuple(read_pose_set(other).people())
    Split(people[4:], people[:1], people[1:4], 0).write(other / "split.json")
    assert run(poses, "judge", other, tmp_path / "judge.safetensors", "--steps", 1, monkeypatch=monkeypatch) == 0
    assert PoseJudge.open(tmp_path / "judge.safetensors").facts["train"] == list(people[4:])


@pytest.mark.parametrize("words", [("judge.pt",), ("j.safetensors", "--steps", 0), ("j.safetensors", "--size", 8)])
def test_what_cannot_be_written(data, tmp_path, monkeypatch, words):
    assert run(poses, "judge", data, tmp_path / words[0], *words[1:], monkeypatch=monkeypatch) == 2


def test_the_command(data, tmp_path, monkeypatch, capfd):
    out = tmp_path / "judge.safetensors"
    assert run(poses, "judge", data, out, "--steps", 5, monkeypatch=monkeypatch) == 0
    assert "degrees of error on people it has not seen" in capfd.readouterr().out
    assert PoseJudge.open(out).facts["people"] == 4
