"""Judgement of turned faces: values by plain numpy, means over people, ranges of yaw, sentences and tables."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from generation.intervals import interval, per_person
from generation.pictures import read_pixels
from generation.posecontrol.evaluation import (
    COPY,
    IDENTITY,
    LIKENESS,
    POSE,
    PSNR,
    REAL,
    SSIM,
    Judged,
    gain,
    judge,
    markdown,
    summary,
)
from generation.posecontrol.pairs import Pairs, pairs_of
from generation.posecontrol.pose_set import read_pose_set
from recognition.errors import InputError
from tests.generation.posecontrol.small_model import small

pytest.importorskip("torchmetrics")


@pytest.fixture(scope="module")
def seen(data):
    """Two untrained models, of all pairs of the small set; the pose is judged to be frontal always."""
    pose_set = read_pose_set(data)
    pairs = pairs_of(pose_set, pose_set.people())
    models = {"one": small().eval(), "two": small(generator="vector").eval()}
    found = judge(
        models,
        pose_set,
        pairs,
        embed=lambda img01: img01.mean((2, 3)) - 0.3,
        pose_of=lambda img01: torch.zeros(len(img01), 3),
    )
    return pose_set, pairs, models, found


def test_values_are_those_of_numpy(seen):
    pose_set, pairs, models, found = seen
    assert list(found.values) == [COPY, "one", "two", REAL]
    for place in (0, 7, 23):
        source, target = (
            read_pixels(path, 32, fills=True).astype(float) / 255
            for path in (pose_set.front.paths[pairs.front_P[place]], pose_set.video.paths[pairs.video_P[place]])
        )
        pose = torch.from_numpy(pose_set.video.pose_N3[pairs.video_P[place]]).float()[None]
        given = torch.from_numpy(source).permute(2, 0, 1).float()[None] * 2 - 1
        with torch.no_grad():
            made = np.round((models["one"](given, pose).image_BCHW[0].permute(1, 2, 0).numpy() + 1) / 2 * 255) / 255
        for name, picture in ((COPY, source), ("one", made)):
            error = np.mean((picture - target) ** 2)
            assert found.values[name][PSNR][place] == pytest.approx(-10 * np.log10(error), abs=0.02)
            a, b = picture.mean((0, 1)) - 0.3, target.mean((0, 1)) - 0.3
            cosine = a @ b / np.linalg.norm(a) / np.linalg.norm(b)
            assert found.values[name][IDENTITY][place] == pytest.approx(cosine, abs=1e-3)
            b = source.mean((0, 1)) - 0.3
            cosine = a @ b / np.linalg.norm(a) / np.linalg.norm(b)
            assert found.values[name][LIKENESS][place] == pytest.approx(cosine, abs=1e-3)
        from recognition.heads import rotation_of

        trace = np.trace(rotation_of(pose[0].tolist()))
        assert found.values["two"][POSE][place] == pytest.approx(np.rad2deg(np.arccos((trace - 1) / 2)), abs=1e-3)
    assert found.values[REAL][SSIM] == pytest.approx(np.ones(len(pairs.front_P)), abs=1e-5)


def test_a_person_counts_once():
    values, people = np.array([1.0, 1.0, 1.0, 3.0, 5.0]), np.array(["b", "b", "b", "a", "c"])
    assert per_person(values, people).tolist() == [3.0, 1.0, 5.0]
    found = interval(per_person(values, people))
    # Student's t of 2 degrees of freedom at 97.5 %: 4.3027; the deviation of 3, 1, 5 is 2.
    assert (found.mean, found.high) == pytest.approx((3.0, 3.0 + 4.3027 * 2 / np.sqrt(3)), rel=1e-4)


def test_one_person_has_no_interval():
    assert np.isnan(interval(np.array([2.0])).low)


def judged(**makers):
    people = np.array(["a", "a", "b", "b"])
    return Judged(
        np.array([-50.0, 10.0, 20.0, 50.0]), people, {name: {PSNR: np.array(v)} for name, v in makers.items()}
    )


def test_rows_by_yaw_and_gains():
    found = judged(**{COPY: [10.0, 20.0, 12.0, 14.0], "one": [13.0, 21.0, 15.0, 19.0]})
    table = summary(found)
    rows = {
        each["yaw_deg"]: (each["pairs"], each["people"], each["makers"]["one"][PSNR]["mean"]) for each in table["bins"]
    }
    assert rows == {"all": (4, 2, 17.0), "0-15": (1, 1, 21.0), "15-30": (1, 1, 15.0), "45-60": (2, 2, 16.0)}
    assert gain(found, PSNR, "one", COPY).mean == pytest.approx(np.mean([2.0, 4.0]))
    text = markdown(table)
    assert "| 45-60 | 2 | 12.0 (-13.4 to 37.4) | 16.0" in text
    assert "| 0-15 | 1 | 20.0 | 21.0 |" in text


def test_in_a_row_a_person_counts_once():
    values = {COPY: {PSNR: np.array([10.0, 10.0, 10.0, 20.0])}}
    (row, *_) = summary(Judged(np.zeros(4), np.array(["a", "a", "a", "b"]), values))["bins"]
    assert (row["pairs"], row["people"], row["makers"][COPY][PSNR]["mean"]) == (4, 2, 15.0)


def test_a_picture_is_not_compared_with_itself(seen):
    tables = {part.splitlines()[0]: part for part in markdown(summary(seen[3])).split("### ")[1:]}
    missing = {title: [maker for maker in (COPY, REAL) if maker not in text] for title, text in tables.items()}
    assert missing == {
        "PSNR in dB": [REAL],
        "SSIM": [REAL],
        "identity, cosine to the target": [REAL],
        "identity, cosine to the source": [COPY],
        "pose error in degrees": [],
    }


def test_the_ends_of_the_ranges_of_yaw(data):
    """45 degrees belong to 45-60, 90 to 75-90; a head turned by 120 degrees in yaw is one of 60 that is upside down."""
    pose_set = read_pose_set(data)
    video = pose_set.video
    pose_N3 = np.zeros_like(video.pose_N3)
    pose_N3[:4, 1] = (45.0, -90.0, 89.0, 120.0)
    pairs = Pairs(np.zeros(4, np.int64), np.arange(4), np.zeros(4))
    found = judge({"one": small().eval()}, replace(pose_set, video=replace(video, pose_N3=pose_N3)), pairs)
    counts = {each["yaw_deg"]: each["pairs"] for each in summary(found)["bins"]}
    assert counts == {"all": 4, "45-60": 1, "60-75": 1, "75-90": 2}


def test_what_cannot_be_compared(seen):
    pose_set, pairs, models, _ = seen
    with pytest.raises(InputError, match=r"models of \[32, 64\] pixels"):
        judge({**models, "large": small(image_size=64)}, pose_set, pairs)
    with pytest.raises(InputError, match="no pairs to judge by"):
        judge(models, pose_set, Pairs(*(part[:0] for part in (pairs.front_P, pairs.video_P, pairs.angle_P))))
