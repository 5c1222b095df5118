"""`launch/poses.py rotate`: a record set of the same people in more poses, which the recogniser's trainer reads."""

import shutil

import numpy as np
import pytest
from PIL import Image

from generation import ImageControlNet
from generation.pictures import batch_of, pixels_of
from generation.posecontrol.evaluation import turned
from generation.posecontrol.rotating import Turns, write_turned
from launch import poses, records
from recognition.data.recordio import RecordWriter
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


def test_of_a_pose_set_the_sources_are_turned(data, model, tmp_path, monkeypatch):
    words = ("rotate", model, data, tmp_path / "set", "--yaws", 50, "--png")
    assert run(poses, *words, monkeypatch=monkeypatch) == 0
    assert run(records, "verify", tmp_path / "set", monkeypatch=monkeypatch) == 0
    found = pictures(open_source(tmp_path / "set"))
    assert [label for label, _ in found] == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5]
    for number, (_, pixels) in enumerate(found[::2]):
        # A PNG keeps every pixel.
        assert np.array_equal(pixels, np.asarray(Image.open(data / "front" / f"p{number}_0.png")))
    assert (tmp_path / "set" / "identities.txt").read_text().split() == [f"p{number}" for number in range(6)]


def test_a_record_file_and_batches_of_any_size(data, model, tmp_path, monkeypatch):
    out = [tmp_path / name for name in ("set", "more", "again")]
    assert run(poses, "rotate", model, data, out[0], "--only-rotated", "--png", monkeypatch=monkeypatch) == 0
    for folder, size in ((out[1], 1), (out[2], 7)):
        words = ("rotate", model, out[0] / "train.rec", folder, "--yaws", -20, 20, "--png", "--batch_size", size)
        assert run(poses, *words, monkeypatch=monkeypatch) == 0
    one, other = (pictures(open_source(folder)) for folder in out[1:])
    assert [label for label, _ in one] == [label for label, _ in other] == list(np.repeat(np.arange(6), 12))
    # Sums of another batch are taken in another order: a value on an edge may fall to either side.
    assert max(np.abs(a.astype(int) - b).max() for (_, a), (_, b) in zip(one, other)) <= 1


def test_nothing_is_left_of_a_set_with_a_damaged_picture(data, model, tmp_path, monkeypatch, capfd):
    folder = tmp_path / "people"
    for number in range(2):
        (folder / f"p{number}").mkdir(parents=True)
        (folder / f"p{number}" / "a.png").write_bytes((data / "front" / f"p{number}_0.png").read_bytes())
    (folder / "p1" / "b.png").write_bytes(b"no picture")
    words = ("rotate", model, folder, tmp_path / "set", "--batch_size", 1)
    assert run(poses, *words, monkeypatch=monkeypatch) == 2
    assert "b.png" in capfd.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["people"]


def test_names_must_be_such_that_a_record_set_can_have_them(data, model, tmp_path, monkeypatch, capfd):
    other = shutil.copytree(data, tmp_path / "data")
    for kind in ("front", "video"):
        path = other / f"{kind}_metadata.json"
        path.write_text(path.read_text().replace('"person_name": "p1"', '"person_name": "a/b"'))
    assert run(poses, "rotate", model, other, tmp_path / "set", monkeypatch=monkeypatch) == 2
    assert "'a/b'" in capfd.readouterr().err
    assert not (tmp_path / "set").exists()


@pytest.mark.parametrize(("word", "value"), [("--quality", 0), ("--batch_size", 0), ("--device", "tpu")])
def test_settings_that_cannot_be(data, model, tmp_path, monkeypatch, word, value):
    assert run(poses, "rotate", model, data, tmp_path / "set", word, value, monkeypatch=monkeypatch) == 2
    assert not list(tmp_path.iterdir())


def test_labels_that_only_the_pictures_know(data, model, tmp_path):
    """A set of another writer, without checks and without records of identities."""
    with RecordWriter(tmp_path / "train.rec") as writer:
        for key, label in enumerate((1, 0, 1)):
            writer.write(key, (data / "front" / f"p{key}_0.png").read_bytes(), label)
    (tmp_path / "train.crc").unlink()
    (tmp_path / "property").write_text("2,32,32")
    source = open_source(tmp_path)
    assert source.labels() is None
    assert write_turned(ImageControlNet.open(model), source, tmp_path / "set", Turns((30.0,))) == 6
    assert open_source(tmp_path / "set").labels().tolist() == [0, 0, 1, 1, 1, 1]
