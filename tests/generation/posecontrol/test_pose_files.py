"""The four files: read as they are documented; what is wrong with them is said in a line with file and number."""

import json
import shutil

import numpy as np
import pytest

from generation.posecontrol.pose_files import PoseRow, read_pose_file, write_pose_file
from generation.posecontrol.pose_set import read_pose_set
from recognition.errors import InputError
from recognition.heads import rotation_of


@pytest.fixture
def copied(data, tmp_path):
    """A set to damage."""
    return shutil.copytree(data, tmp_path / "set")


def changed(folder, change, kind="front"):
    """The set with its metadata changed in place."""
    path = folder / f"{kind}_metadata.json"
    content = json.loads(path.read_text())
    content = change(content) or content
    path.write_text(json.dumps(content))
    return folder


def test_what_is_in_the_files_is_read(data):
    pose_set = read_pose_set(data)
    content = json.loads((data / "video_metadata.json").read_text())
    assert pose_set.people() == [f"p{number}" for number in range(6)]
    assert len(pose_set.front.paths) == 6
    assert pose_set.video.people == tuple(entry["person_name"] for entry in content["metadata"])
    assert [str(path.relative_to(data)) for path in pose_set.video.paths] == [
        entry["image_path"] for entry in content["metadata"]
    ]
    assert np.array_equal(pose_set.video.pose_N3, content["poses"])
    assert np.array_equal(pose_set.video.points_N53, np.load(data / "video_keypoints.npy"))
    assert pose_set.left_out == ()


def test_what_is_written_is_read(tmp_path):
    draw = np.random.default_rng(0)
    rows = [
        PoseRow(f"p{n}", f"{n}.png", (5, 6), draw.normal(size=3), draw.normal(size=(5, 3)), frame=f"{n:04d}")
        for n in range(3)
    ]
    write_pose_file(tmp_path, "video", rows)
    read = read_pose_file(tmp_path, "video")
    assert np.array_equal(read.poses_N3, [row.pose_deg for row in rows])
    centred = np.array([row.points_53 - row.points_53.mean(0) for row in rows], np.float32)
    assert np.array_equal(read.points_N53, centred)
    assert [entry["frame_index"] for entry in read.entries] == ["0000", "0001", "0002"]
    content = json.loads((tmp_path / "video_metadata.json").read_text())
    assert content["format"] == "pose-pairs/1"
    assert content["pose_order"] == ["pitch", "yaw", "roll"]
    assert content["metadata"][0]["image_size"] == [5, 6]


def test_another_order_and_unit(copied):
    def change(content):
        content["poses"] = [
            [np.deg2rad(roll), np.deg2rad(pitch), np.deg2rad(yaw)] for pitch, yaw, roll in content["poses"]
        ]
        content.update(pose_order=["roll", "pitch", "yaw"], pose_unit="rad")

    before = read_pose_set(copied).video.pose_N3
    assert np.allclose(read_pose_set(changed(copied, change, "video")).video.pose_N3, before)


def test_files_of_the_first_version_are_taken_only_when_asked(copied):
    def change(content):
        del content["pose_order"], content["format"]
        content["poses"] = [[1.0, 2.0, 3.0]] * len(content["poses"])

    changed(copied, change)
    with pytest.raises(InputError, match=r"front_metadata.json has poses and no 'pose_order'.*roll, yaw, pitch"):
        read_pose_set(copied)
    # What they call yaw, pitch and roll is, by the formulas of the first version, roll, yaw and pitch.
    assert read_pose_set(copied, legacy_pose_order=True).front.pose_N3[0].tolist() == [3.0, 2.0, 1.0]


def test_the_bare_list_with_poses_from_points(copied):
    def change(content):
        return [
            {**{k: v for k, v in entry.items() if k != "image_path"}, "file_path": entry["image_path"]}
            for entry in content["metadata"]
        ]

    from generation.pose import STANDARD_53

    poses = json.loads((copied / "video_metadata.json").read_text())["poses"]
    points = np.stack([STANDARD_53.numpy() @ rotation_of(pose).T for pose in poses]) * 3
    np.save(copied / "video_keypoints.npy", points.astype(np.float32))
    assert np.allclose(read_pose_set(changed(copied, change, "video")).video.pose_N3, poses, atol=1e-4)


def test_pictures_in_another_folder(copied, tmp_path):
    (tmp_path / "pictures").mkdir()
    (copied / "front").rename(tmp_path / "pictures" / "front")
    with pytest.raises(InputError, match="6 no such picture"):
        read_pose_set(copied)
    paths = read_pose_set(copied, tmp_path / "pictures").front.paths
    assert {path.parent for path in paths} == {tmp_path / "pictures" / "front"}


def spoil(content):
    content["poses"][0] = [float("nan"), 0, 0]
    content["poses"][1] = None
    content["metadata"][2]["image_path"] = "front/nowhere.png"
    del content["metadata"][3]["person_name"]
    content["metadata"][4]["image_path"] = ""


def test_rows_that_cannot_be_used_are_left_out_with_a_reason(copied):
    np.save(copied / "front_keypoints.npy", np.zeros((6, 5, 3), np.float32))  # no pose can be had from these
    pose_set = read_pose_set(changed(copied, spoil))
    reasons = {each.where: each.reason for each in pose_set.left_out}
    assert reasons == {
        "front_metadata.json [0]": "no pose",
        "front_metadata.json [1]": "no pose",
        "front_metadata.json [2]": "no such picture: front/nowhere.png",
        "front_metadata.json [3]": "no person_name",
        "front_metadata.json [4]": "no image_path",
        **{f"video p{number}": "person in one list only" for number in range(5)},
    }
    assert pose_set.people() == ["p5"]
    assert len(pose_set.front.points_N53) == len(pose_set.front.paths) == 1


def test_where_nobody_is_left_it_is_said_why(copied):
    def change(content):
        for entry in content["metadata"]:
            entry["person_name"] = "else"

    with pytest.raises(InputError, match="nobody is left who has a source and a target: 7 person in one list only"):
        read_pose_set(changed(copied, change))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda c: c["metadata"].pop(), r"front_keypoints.npy has 6 rows, and front_metadata.json 5 entries"),
        (lambda c: c["poses"].pop(), r"6 entries under 'metadata' and 5 under 'poses'"),
        (lambda c: c["boxes"].pop(), r"6 entries under 'metadata' and 5 under 'boxes'"),
        (lambda c: c.update(num_samples=9), r"num_samples is 9, and 'metadata' has 6"),
        (lambda c: c.update(format="pose-pairs/2"), r"of the format 'pose-pairs/2'"),
        (lambda c: c.update(pose_order=["yaw", "yaw", "roll"]), r"pose_order is"),
        (lambda c: c.update(pose_unit="turns"), r"pose_unit is 'turns'"),
        (lambda c: c.update(pose_convention="else"), r"pose_convention is 'else'"),
        (lambda c: c.update(poses=[[1, 2]] * 6), r"'poses' must be 6 rows of three numbers"),
        (lambda c: c.update(metadata=3), r"no list of objects under 'metadata'"),
        (lambda c: 3, r"holds int"),
    ],
)
def test_what_is_wrong_with_the_metadata(copied, change, said):
    path = copied / "front_metadata.json"
    content = json.loads(path.read_text())
    result = change(content)
    path.write_text(json.dumps(result if result == 3 else content))
    with pytest.raises(InputError, match=said) as error:
        read_pose_set(copied)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("array", "said"),
    [
        (np.zeros((6, 15), np.float32), r"shape \(6, 15\), not \(N, 5, 3\)"),
        (np.zeros((6, 5, 3), np.int64), "numbers of type int64"),
        (np.array([{}]), "no array of numbers"),
    ],
)
def test_what_is_wrong_with_the_points(copied, array, said):
    np.save(copied / "front_keypoints.npy", array, allow_pickle=True)
    with pytest.raises(InputError, match=said):
        read_pose_set(copied)


@pytest.mark.parametrize("name", ["front_metadata.json", "video_keypoints.npy"])
def test_files_that_are_missing_or_cut(copied, name):
    content = (copied / name).read_bytes()
    (copied / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match=name):
        read_pose_set(copied)
    (copied / name).unlink()
    with pytest.raises(InputError, match=f"{name} cannot be read"):
        read_pose_set(copied)


def test_a_folder_that_is_none(tmp_path):
    with pytest.raises(InputError, match="no folder"):
        read_pose_set(tmp_path / "nowhere")
