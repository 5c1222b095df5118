"""A set judged by a recogniser: verdicts on made-up embeddings, found noise, the tables, and the command."""

import csv
import json
import sys

import numpy as np
import pytest
import torch

from launch import clean
from recognition.command import run_command
from recognition.data.decode import decode_into
from recognition.data.label_noise import parse_noise
from recognition.data.sources import open_source
from recognition.data.transforms import to_input
from recognition.embedding.models import Embedder, open_embedder
from recognition.records.cleaning import Thresholds, embed_source, judge, write_cleanliness
from recognition.records.packing import pack_folder
from recognition.weights import save_backbone
from tests.filling import filled_backbone
from tests.head.test_cleanliness import at
from tests.pictures import write_people


def people(*, classes=40, images=10, size=32, spread=0.1, seed=0):
    """Unit-scale embeddings around a random direction for each person, and true labels."""
    rng = np.random.default_rng(seed)
    labels_N = np.repeat(np.arange(classes), images)
    emb_ND = rng.standard_normal((classes, size))[labels_N] / np.sqrt(size)
    return (emb_ND + spread * rng.standard_normal(emb_ND.shape)).astype(np.float32), labels_N


def test_verdicts_by_hand():
    # Centres at 0, 90 and (the twin of 90) at 94 degrees, 180; class 4 is empty.
    centers_CD = torch.from_numpy(np.concatenate([at(0, 90, 94, 180), at(0) * 0])) * 3
    emb_ND = at(10, 46, 91, 93, 260, 133)
    labels_N = np.array([0, 0, 1, 1, 3, 3])
    found = judge(emb_ND, labels_N, 5, Thresholds(max_angle_deg=60), centers_CD=centers_CD)
    assert found.verdict_N.tolist() == ["clean", "mislabelled", "clean", "duplicate", "far", "mislabelled"]
    assert found.near.nearest_N.tolist() == [1, 1, 2, 2, 0, 2]
    assert found.pairs_P2.tolist() == [[1, 2]]
    assert found.pair_cos_P[0] == pytest.approx(np.cos(np.radians(4)), abs=1e-6)
    counts = {name: found.summary()[name] for name in ("images", "identities", "mislabelled", "far", "duplicate")}
    assert counts == {"images": 6, "identities": 3, "mislabelled": 2, "far": 1, "duplicate": 1}
    assert found.summary()["mean_target_cosine"] == pytest.approx(
        np.cos(np.radians([10, 46, 1, 3, 80, 47])).mean(), abs=1e-6
    )
    strict = judge(emb_ND, labels_N, 5, Thresholds(max_angle_deg=60, duplicate_cos=0.999), centers_CD=centers_CD)
    assert strict.verdict_N.tolist()[3] == "mislabelled"
    assert len(strict.pairs_P2) == 0


@pytest.mark.parametrize("share", [0.2, 0.4])
def test_flipped_labels_are_found(share):
    emb_ND, true_N = people()
    noise = parse_noise(f"flip:{share}")
    labels_N = noise.apply(np.arange(400), true_N, num_images=400, num_classes=40, seed=0)
    found = judge(emb_ND, labels_N, 40)
    assert np.array_equal(found.verdict_N == "mislabelled", labels_N != true_N)
    assert np.array_equal(found.near.nearest_N[labels_N != true_N], true_N[labels_N != true_N]), "and whose they are"


def test_people_under_two_labels_are_found():
    emb_ND, true_N = people(images=20)
    noise = parse_noise("conflict:0.3")
    labels_N = noise.apply(np.arange(800), true_N, num_images=800, num_classes=40, seed=0)
    found = judge(emb_ND, labels_N, noise.num_classes(40))
    owner = dict(zip(labels_N.tolist(), true_N.tolist()))
    assert len(found.pairs_P2) == 12
    assert all(owner[a] == owner[b] for a, b in found.pairs_P2.tolist())
    assert set(found.verdict_N.tolist()) == {"clean", "duplicate"}


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clean")
    counts = {"a": 3, "b": 4, "c": 2}
    pack_folder(write_people(folder / "people", counts, size=112), folder / "set")
    module = filled_backbone("mbf_tiny", 16)
    meta = {"network": "mbf_tiny", "embedding_size": 16, "image_size": 112}
    save_backbone(folder / "model.safetensors", module, meta)
    return folder


def test_embeddings_of_a_set_are_the_models_own(packed, tmp_path):
    model, source = open_embedder(packed / "model.safetensors"), open_source(packed / "set")
    emb_ND, labels_N = embed_source(model, source, tmp_path / "e.npy", batch_size=4)
    assert labels_N.tolist() == [0, 0, 0, 1, 1, 1, 1, 2, 2]
    pixels = np.empty((9, 112, 112, 3), np.uint8)
    for index in range(9):
        decode_into(pixels[index], source.read(index).payload, str)
    with torch.no_grad():
        expected_ND = torch.nn.functional.normalize(model(to_input(torch.from_numpy(pixels)))).numpy()
    np.testing.assert_allclose(emb_ND, expected_ND, atol=1e-3)  # float16
    np.testing.assert_array_equal(np.load(tmp_path / "e.npy"), emb_ND)
    assert [path.name for path in tmp_path.iterdir()] == ["e.npy"]


def test_a_failure_leaves_no_file(packed, tmp_path):
    def fail(x_BCHW):
        raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        embed_source(Embedder(fail, None), open_source(packed / "set"), tmp_path / "e.npy")
    assert not list(tmp_path.iterdir())


def table(path):
    return list(csv.DictReader(path.read_text().splitlines()))


@pytest.mark.parametrize("kind", ["records", "folder"])
def test_the_tables(packed, tmp_path, kind):
    source = open_source(packed / ("set" if kind == "records" else "people"))
    emb_ND = at(0, 2, 91, 90, 92, 90, 90, 200, 204)
    found = judge(emb_ND, np.array([0, 0, 0, 1, 1, 1, 1, 2, 2]), 3)
    write_cleanliness(tmp_path, found, source, {"network": "mine"})
    images = table(tmp_path / "images.csv")
    names = [str(key) for key in range(1, 10)] if kind == "records" else source.paths
    assert [row["image"] for row in images] == names
    assert images[2]["verdict"] == "mislabelled"
    assert (images[2]["label"], images[2]["nearest_other"]) == ("0", "1")
    assert float(images[2]["own_cos"]) == pytest.approx(found.near.own_N[2], abs=5e-5)
    assert float(images[2]["other_cos"]) == pytest.approx(1, abs=1e-3)
    identities = table(tmp_path / "identities.csv")
    assert [(row["label"], row["images"], row["mislabelled"]) for row in identities] == [
        ("0", "3", "1"),
        ("1", "4", "0"),
        ("2", "2", "0"),
    ]
    assert float(identities[1]["mean_cos"]) == pytest.approx(found.near.own_N[3:7].mean(), abs=5e-5)
    assert table(tmp_path / "duplicates.csv") == []
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert (summary["mislabelled"], summary["model"]) == (1, {"network": "mine"})


def test_the_command(packed, tmp_path, monkeypatch, capfd):
    def run(*words):
        monkeypatch.setattr(sys, "argv", ["clean.py", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            run_command(clean.main)
        return ended.value.code, *capfd.readouterr()

    code, out, err = run(packed / "model.safetensors", packed / "set", "--out", tmp_path / "out", "--device", "cpu")
    assert (code, err) == (0, "")
    assert out.startswith("images              9\nidentities          3\n")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "duplicates.csv",
        "embeddings.npy",
        "identities.csv",
        "images.csv",
        "summary.json",
    ]
    assert len(table(tmp_path / "out" / "images.csv")) == 9
    code, _, err = run(packed / "model.safetensors", tmp_path / "nowhere", "--out", tmp_path / "x")
    assert (code, err.count("\n")) == (2, 1)
    assert "nowhere" in err
