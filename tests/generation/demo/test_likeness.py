"""The figures of the demonstration's report, against arithmetic by hand and by loops; and a whole report."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from generation.demo import likeness
from generation.demo.base import HELD_OUT, train_base
from generation.demo.dataset import BOXES, LIST, write_dataset
from generation.demo.likeness import BASE, REAL, WITH, WITHOUT, Person, judged, picture_rows, summary
from generation.demo.people import SIDE
from generation.intervals import interval
from generation.lora.config import config_of_run, load_lora_config
from generation.lora.loop import train
from recognition.backbones import build_backbone
from recognition.errors import InputError
from recognition.runtime import Runtime
from recognition.weights import save_backbone
from tests.conftest import CONFIGS


def test_the_interval_is_student_s():
    values = np.array([0.1, 0.4, 0.2, 0.3, 0.0])
    found = interval(values)
    # mean 0.2, deviation 0.158114, t of 4 degrees of freedom 2.776445 (any table).
    half = 2.776445 * 0.158114 / 5**0.5
    assert found.mean == pytest.approx(0.2)
    assert (found.low, found.high) == pytest.approx((0.2 - half, 0.2 + half), abs=1e-6)


def matrix(diagonal, other):
    made = np.full((len(diagonal), len(diagonal)), other)
    np.fill_diagonal(made, diagonal)
    return made


def test_the_gain_is_of_paired_differences_and_each_is_taken_for_the_nearest():
    without, with_ = matrix([0.5, 0.6, 0.7], 0.1), matrix([0.6, 0.7, 0.8], 0.1)
    with_[1:, 0] = 0.9  # the others would be taken for the first
    held_out = {BASE: matrix([0.2] * 3, 0.3), WITHOUT: without, WITH: with_, REAL: matrix([0.9] * 3, 0.25)}
    training = {maker: of - 0.1 for maker, of in held_out.items()}
    runs = {WITHOUT: [{"step": 0, "held_out_cos": 0.1}], WITH: [{"step": 0, "held_out_cos": 0.2}]}
    cosines = {"held_out": held_out, "training": training}
    found = summary(cosines, {"without": 50.0, "with": 80.0}, runs, {"people": 3})
    # Each gains exactly as much: however unlike they are, the interval has no width.
    assert found["gain"]["held_out"] == pytest.approx({"mean": 0.1, "low": 0.1, "high": 0.1})
    right = {maker["name"]: maker["taken_for_the_right_one"] for maker in found["makers"]}
    assert right == {BASE: 0, WITHOUT: 1, WITH: pytest.approx(1 / 3), REAL: 1}
    assert found["strangers"] == pytest.approx(0.25)
    assert found["overhead"] == pytest.approx(0.6)


@pytest.fixture(scope="module")
def recognisers(tmp_path_factory):
    """Two networks for pictures of SIDE pixels, as they are initialised."""
    paths = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        path = tmp_path_factory.mktemp("recognisers") / f"{seed}.safetensors"
        facts = {"network": "r_tiny", "embedding_size": 16, "image_size": SIDE}
        save_backbone(path, build_backbone("r_tiny", 16, image_size=SIDE), facts)
        paths.append(path)
    return paths


def test_cosines_are_means_over_pairs_of_pictures(recognisers):
    draw = np.random.default_rng(0)
    people = [Person(str(n), (), torch.from_numpy(draw.random((2, 3, SIDE, SIDE), np.float32))) for n in range(2)]
    pixels = draw.integers(0, 256, (2, 3, SIDE, SIDE, 3), np.uint8)
    found = judged({"any": pixels}, people, recognisers[0])["any"]
    network = build_backbone("r_tiny", 16, image_size=SIDE).eval()
    network.load_state_dict(load_file(recognisers[0]))

    def emb(img01):
        with torch.no_grad():
            return network(img01[None] * 2 - 1)[0]

    for i in range(2):
        for j in range(2):
            cosines = [
                torch.cosine_similarity(
                    emb(torch.from_numpy(made).permute(2, 0, 1) / 255), emb(people[j].unseen_MCHW[m]), dim=0
                ).item()
                for made in pixels[i]
                for m in range(2)
            ]
            assert found[i, j] == pytest.approx(np.mean(cosines), abs=1e-5)


@pytest.fixture(scope="module")
def runs(tmp_path_factory, recognisers):
    """Two runs of two steps on three people."""
    home = tmp_path_factory.mktemp("demo")
    write_dataset(home / "people", seed=0, people=3, pictures=2, unseen=1)
    train_base(home / "base", seed=0, people=HELD_OUT + 10, vae_steps=2, steps=2)
    options = [
        f"data={home / 'people' / LIST}",
        f"detector={home / 'people' / BOXES}",
        f"vae={home / 'base' / 'vae'}",
        f"transformer={home / 'base' / 'transformer'}",
        f"arcface_weights={recognisers[0]}",
        f"held_out_recogniser={recognisers[1]}",
        *("device=cpu", "max_steps=2", "warmup_steps=0", "sample_steps=2", "batch_size=2", "using_tensorboard=False"),
    ]
    made = []
    for weight in (0, 5):
        options_of_run = [f"face_loss_weight={weight}", f"output={home / f'weight-{weight}'}"]
        made.append(train(load_lora_config(CONFIGS / "lora_demo.py", [*options, *options_of_run]), Runtime()))
    return home, *made


def test_all_are_asked_for_the_same_pictures_and_an_adapter_that_does_nothing_changes_nothing(runs):
    home, without, with_ = runs
    pictures, people = likeness.pictures_of(without, with_, home / "people", noises=2, runtime=Runtime())
    assert {maker: made.shape for maker, made in pictures.items()} == dict.fromkeys(
        (BASE, WITHOUT, WITH, REAL), (3, 2, SIDE, SIDE, 3)
    )
    assert not np.array_equal(pictures[WITHOUT], pictures[WITH])
    assert not np.array_equal(pictures[BASE], pictures[WITH])
    assert not np.array_equal(pictures[BASE][:, 0], pictures[BASE][:, 1])
    assert len(picture_rows(pictures, people)) == 3

    file = with_ / "adapter" / "pytorch_lora_weights.safetensors"
    kept = file.read_bytes()
    try:
        save_file({name: torch.zeros_like(tensor) for name, tensor in load_file(file).items()}, file)
        again, _ = likeness.pictures_of(without, with_, home / "people", noises=2, runtime=Runtime())
    finally:
        file.write_bytes(kept)
    assert np.array_equal(again[WITH], again[BASE])
    assert np.array_equal(again[BASE], pictures[BASE])


def test_the_whole_report(runs, tmp_path, monkeypatch, capsys):
    home, without, with_ = runs
    words = [str(without), str(with_), "--people", str(home / "people"), "--noises", "2", "--out", str(tmp_path)]
    monkeypatch.setattr("sys.argv", ["likeness", *words])
    likeness.main()
    found = json.loads((tmp_path / "report.json").read_text())
    page = (tmp_path / "index.html").read_text()
    gain = found["gain"]["held_out"]
    assert f"{gain['mean']:+.3f} with the loss" in capsys.readouterr().out
    assert f"{gain['low']:+.3f} to {gain['high']:+.3f}" in page
    assert found["step_ms"]["with"] > 0 < found["step_ms"]["without"]
    assert [column["step"] for column in found["monitor"].values()] == [[0, 2], [0, 2]]
    assert page.count("data:image/") == 3


def test_a_folder_without_a_run_is_named(tmp_path):
    with pytest.raises(InputError, match=r"is no run of launch/lora.py: .*config\.json cannot be read"):
        config_of_run(tmp_path)
