"""Whole runs on synthetic identities: what a run leaves behind, and that it learns."""

import json

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

from recognition.config import load_config
from recognition.data.synthetic import synthetic_pairs
from recognition.errors import InputError
from recognition.runtime import Runtime
from recognition.training.evaluation import averaged_statistics
from recognition.training.loop import train
from recognition.training.metrics import read_rows
from recognition.weights import load_backbone
from tests.conftest import ROOT
from tests.ranks import run_ranks


def tiny(tmp_path, *overrides, config="ms1mv3_mbf"):
    return load_config(ROOT / "configs" / f"{config}.py", ["tiny=True", f"output={tmp_path / 'run'}", *overrides])


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """One short run that verifies twice, shared by the tests that only look at what it left."""
    folder = tmp_path_factory.mktemp("finished")
    overrides = ["max_steps=6", "verbose=3", "frequent=2", "num_image=200", "wandb_key=do-not-print-me"]
    return train(tiny(folder, *overrides), Runtime())


def test_a_run_leaves_what_the_readme_lists(finished):
    listed = ["config.json", "training.log", "metrics.jsonl", "model.pt", "model.safetensors", "model.onnx"]
    listed += ["best.safetensors", "best.json", "report/index.html", "report/report.md", "report/report.json"]
    assert [name for name in listed if not (finished / name).is_file()] == []
    assert list((finished / "tensorboard").glob("events*"))
    assert not [path for path in finished.rglob("*") if "partial" in path.name]


def test_config_json_says_what_was_run_and_keeps_secrets(finished):
    text = (finished / "config.json").read_text()
    stored = json.loads(text)
    assert stored["num_image"] == 200
    assert stored["network"] == "mbf_tiny"
    written = [path for path in finished.rglob("*") if path.is_file()]
    assert [path for path in written if b"do-not-print-me" in path.read_bytes()] == []


def test_metrics_rows_are_complete(finished):
    rows = read_rows(finished, "train")
    assert [row["step"] for row in rows] == [1, 2, 4, 6]
    wanted = {"epoch", "loss", "lr", "images_per_s", "data_wait", "grad_norm", "target_cos", "eta_s"}
    assert all(wanted <= set(row) for row in rows)
    assert all(0 <= row["data_wait"] <= 1 and row["images_per_s"] > 0 for row in rows)
    assert [row["step"] for row in read_rows(finished, "verification")] == [3, 6]


def test_the_three_model_files_are_the_same_model(finished):
    images, _ = synthetic_pairs(num_pairs=4, seed=3, image_size=112)
    x = torch.from_numpy((images.transpose(0, 3, 1, 2).astype(np.float32) - 127.5) / 127.5)
    ours, meta = load_backbone(finished / "model.safetensors")
    plain, _ = load_backbone(finished / "model.pt", network="mbf_tiny")
    onnx = onnxruntime.InferenceSession(str(finished / "model.onnx"), providers=["CPUExecutionProvider"])
    with torch.inference_mode():
        expected = ours.eval()(x)
        torch.testing.assert_close(plain.eval()(x), expected, rtol=0, atol=0)
    (output,) = onnx.run(None, {onnx.get_inputs()[0].name: x.numpy()})
    np.testing.assert_allclose(output, expected.numpy(), rtol=1e-4, atol=1e-4)
    assert meta["network"] == "mbf_tiny"
    assert meta["step"] == 6


def test_best_is_the_row_with_the_highest_accuracy(finished):
    best = json.loads((finished / "best.json").read_text())
    rows = read_rows(finished, "verification")
    top = max(row["accuracy"] for row in rows)
    assert best["accuracy"]["synthetic"] == top
    assert best["step"] == next(row["step"] for row in rows if row["accuracy"] == top)


def test_it_learns_identities_it_can_then_tell_apart(tmp_path):
    # 12 steps of 32 pictures are enough for the loss to fall far below that of guessing.
    run = train(
        tiny(tmp_path, "max_steps=60", "batch_size=32", "num_image=960", "num_classes=12", "lr=0.05", "num_epoch=2"),
        Runtime(),
    )
    rows = read_rows(run, "train")
    assert rows[-1]["loss"] < 0.5 * rows[0]["loss"]
    assert rows[-1]["target_cos"] > rows[0]["target_cos"] + 0.2


def test_the_same_seed_gives_the_same_run_and_another_does_not(tmp_path):
    losses = {}
    for name, seed, workers in (("a", 1, 1), ("b", 1, 3), ("c", 2, 1)):
        run = train(tiny(tmp_path / name, f"seed={seed}", f"num_workers={workers}", "frequent=1"), Runtime())
        losses[name] = [row["loss"] for row in read_rows(run, "train")]
    assert losses["a"] == losses["b"]
    assert losses["a"] != losses["c"]


def test_an_earlier_run_is_set_aside_not_overwritten(tmp_path):
    first = train(tiny(tmp_path, "max_steps=1"), Runtime())
    (first / "mine.txt").write_text("kept")
    second = train(tiny(tmp_path, "max_steps=1"), Runtime())
    assert second == first
    assert (tmp_path / "run.old-1" / "mine.txt").read_text() == "kept"
    assert not (second / "mine.txt").exists()


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["val_targets=['lfw']", "val_dir=/nowhere"], r"nowhere/lfw\.bin does not exist"),
        (["num_image=4", "max_steps=None"], "do not fill one global batch"),
        (["rec=/nowhere/at/all"], "nowhere/at/all"),
        (["image_size=120"], "multiple of 16"),
        (["margin_list=(0,0.5,0)"], "m1 > 0"),
        (["scale=5000"], "scale=5000"),
        (["network=r2060", "export_onnx=True"], "export_onnx=False"),
    ],
)
def test_mistakes_are_named_before_anything_is_written(tmp_path, overrides, message):
    with pytest.raises(InputError, match=message):
        train(tiny(tmp_path, *overrides), Runtime())
    assert not (tmp_path / "run").exists()


def two_rank_run(runtime, tmp_path):
    run = train(tiny(tmp_path, "frequent=1", "verbose=2", "sample_rate=0.5"), runtime)
    return read_rows(run, "train")[-1]["loss"]


def test_two_ranks_train_verify_and_save_together(tmp_path):
    losses = run_ranks(two_rank_run, 2, tmp_path, timeout_s=120)
    assert losses[0] == losses[1]
    assert (tmp_path / "run" / "report" / "index.html").is_file()


def statistics_on(runtime):
    norm = nn.BatchNorm2d(3)
    norm.running_mean += runtime.rank
    with averaged_statistics(nn.Sequential(norm), runtime):
        inside = norm.running_mean.clone()
    return inside, norm.running_mean.clone()


def test_evaluation_uses_the_mean_statistics_and_gives_the_own_ones_back():
    for rank, (inside, after) in enumerate(run_ranks(statistics_on, 3)):
        torch.testing.assert_close(inside, torch.full((3,), 1.0))
        torch.testing.assert_close(after, torch.full((3,), float(rank)))
