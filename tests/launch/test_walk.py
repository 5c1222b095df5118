"""The walk from raw photos to a report, command by command, as the README shows it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from recognition.data.recordio import RecordReader
from tests.commands import launch
from tests.faces.pasted import crops_of_faces, paste, wall
from tests.pictures import pil_pixels

TRAINED, VERIFIED, PHOTOS_EACH = 4, 2, 4  # people, and photos of each


@pytest.fixture(scope="module")
def detector(shared_dir) -> Path:
    path = shared_dir / "models" / "yunet_n_dynamic.onnx"
    if not path.is_file():
        pytest.skip(f"no {path}")
    return path


@pytest.fixture(scope="module")
def crops(shared_dir) -> list[np.ndarray]:
    """Aligned faces, those of a person together."""
    return crops_of_faces(shared_dir, TRAINED + VERIFIED, each=PHOTOS_EACH)


@pytest.fixture(scope="module")
def photos(tmp_path_factory, crops) -> Path:
    """Photos of 700x500, a person somewhere in each but one: `train` and `test` have a folder per person."""
    folder, rng = tmp_path_factory.mktemp("walk") / "photos", np.random.default_rng(0)
    for number, crop in enumerate(crops):
        person, photo = divmod(number, PHOTOS_EACH)
        place = (rng.uniform(150, 550), rng.uniform(150, 350), rng.uniform(0.8, 2), rng.uniform(-25, 25))
        path = folder / ("train" if person < TRAINED else "test") / f"person{person}" / f"{photo}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(paste(wall(700, 500, number), crop, *place)).save(path, quality=95)
    Image.fromarray(wall(700, 500, 99)).save(folder / "train" / "person0" / "empty.jpg")
    return folder


def ran(script: str, *arguments: object) -> str:
    done = launch(script, *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def middle_of(crop: np.ndarray) -> np.ndarray:
    return crop[24:96, 24:88].astype(np.float32)


def test_from_raw_photos_to_a_report(photos, crops, detector, tmp_path):
    faces, run, align = tmp_path / "faces", tmp_path / "run", ("--align", "--detector", detector)
    crops = crops[: TRAINED * PHOTOS_EACH]
    packed = ran("records.py", "pack", photos / "train", faces, *align)
    assert f"packed {len(crops)} images of {TRAINED} identities" in packed
    assert "1 pictures were left out: 1 no face" in packed
    assert "person0/empty.jpg" in (faces / "failures.csv").read_text()
    assert "sound: every record" in ran("records.py", "verify", faces)

    with RecordReader(faces / "train.rec") as reader:
        records = [reader.read(key) for key in reader.image_keys]
        assert [record.label for record in records] == [number // PHOTOS_EACH for number in range(len(crops))]
        found = np.stack([middle_of(pil_pixels(record.payload)) for record in records])
    # Each face is nearest to the crop that was pasted into its photo, of all crops that there are.
    differences = np.abs(found[:, None] - np.stack([middle_of(crop) for crop in crops])).mean((2, 3, 4))
    assert differences.argmin(1).tolist() == list(range(len(crops)))
    assert np.diagonal(differences).mean() < 20

    ran("records.py", "pairs", photos / "test", tmp_path / "people.bin", "--num-pairs", 20, *align)
    data = [f"rec={faces}", f"val_dir={tmp_path}", "val_targets=[people]", f"output={run}"]
    few_steps = ["network=mbf_tiny", "max_steps=3", "warmup_epoch=0", "batch_size=8", "device=cpu"]
    ran("train.py", "configs/base.py", *data, *few_steps, "export_onnx=False")
    report = json.loads((run / "report" / "report.json").read_text())
    assert [(target["name"], target["outcomes"][0]["pairs"]) for target in report["targets"]] == [("people", 20)]
