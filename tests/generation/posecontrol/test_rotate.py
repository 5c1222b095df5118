"""`launch/poses.py rotate`: a record set of the same people in more poses, which the recogniser's trainer reads."""

import numpy as np
import pytest
from PIL import Image

from generation import ImageControlNet
from generation.pictures import batch_of, pixels_of
from generation.posecontrol.evaluation import turned
from generation.posecontrol.rotating import Turns
from launch import poses, records
from recognition.data.sources import open_source
from recognition.errors import InputError
from tests.commands import run
from tests.generation.posecontrol.small_set import run as train


@pytest.fixture(scope="module")
def model(data, tmp_path_factory):
    return train(data, tmp_path_factory.mktemp("model"), "--epochs", 1) / "final_model.pth"


def pictures(source):
    """(label, pixels) of all samples."""
    samples = [source.read(index) for index in range(len(source))]
    from io import BytesIO

    return [(sample.label, np.asarray(Image.open(BytesIO(bytes(sample.payload))))) for sample in samples]


def test_a_folder_of_people_becomes_a_set_that_is_sound(data, model, tmp_path, monkeypatch, capfd):
    folder = tmp_path / "people"
    for number in range(3):
        (folder / f"p{number}").mkdir(parents=True)
        (folder / f"p{number}" / "a.png").write_bytes((data / "front" / f"p{number}_0.png").read_bytes())
    words = ("rotate", model, folder, tmp_path / "set", "--yaws", -45, 45, "--pitches", 0, 15, "--quality", 100)
    assert run(poses, *words, monkeypatch=monkeypatch) == 0
    assert "3 pictures of 3 people are 15 now" in capfd.readouterr().out
    assert run(records, "verify", tmp_path / "set", monkeypatch=monkeypatch) == 0
    source = open_source(tmp_path / "set")
    assert source.labels().tolist() == [0] * 5 + [1] * 5 + [2] * 5
    assert (tmp_path / "set" / "identities.txt").read_text().split() == ["p0", "p1", "p2"]
    import torch

    original = np.asarray(Image.open(data / "front" / "p1_0.png"))
    wanted = torch.tensor([[0.0, -45.0, 0.0], [15.0, -45.0, 0.0], [0.0, 45.0, 0.0], [15.0, 45.0, 0.0]])
    made = pixels_of(turned(ImageControlNet.open(model), batch_of([original] * 4), wanted)).numpy()
    for (label, found), pixels in zip(pictures(source)[5:10], (original, *made)):
        assert label == 1
        assert np.abs(found.astype(int) - pixels).mean() < 3  # JPEG

    # And once more, of the record set, without the pictures themselves.
    words = ("rotate", model, tmp_path / "set", tmp_path / "more", "--yaws", 30, "--only-rotated")
    assert run(poses, *words, monkeypatch=monkeypatch) == 0
    more = open_source(tmp_path / "more")
    assert more.labels().tolist() == source.labels().tolist()
    assert (tmp_path / "more" / "identities.txt").read_text().split() == ["p0", "p1", "p2"]


@pytest.mark.parametrize(("yaws", "pitches"), [((), (0.0,)), ((95.0,), (0.0,)), ((0.0,), (float("nan"),))])
def test_angles_that_cannot_be(yaws, pitches):
    with pytest.raises(InputError):
        Turns(yaws, pitches)


def test_the_folder_must_be_new(data, model, monkeypatch, capfd, tmp_path):
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "file").touch()
    assert run(poses, "rotate", model, data / "front", tmp_path / "set", monkeypatch=monkeypatch) == 2
