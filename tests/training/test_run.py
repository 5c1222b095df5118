"""Whole runs on synthetic identities: what a run leaves behind, and that it learns."""

import json

import numpy as np
import onnxruntime
import pytest
import torch
from safetensors import safe_open
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from recognition.config import describe_config, load_config
from recognition.data.synthetic import FaceRenderer, drawn_pairs
from recognition.errors import InputError
from recognition.log import LOG, ConsoleHandler, LogFile
from recognition.runtime import Runtime
from recognition.training.loop import train
from recognition.training.metrics import read_rows
from recognition.weights import META_KEY, load_backbone, weights_sha256
from tests.conftest import ROOT
from tests.pictures import write_people
from tests.training.small_runs import small


def tiny(tmp_path, *overrides, config="ms1mv3_mbf"):
    return load_config(ROOT / "configs" / f"{config}.py", ["tiny=True", f"output={tmp_path / 'run'}", *overrides])


def short(folder):
    return tiny(folder, "max_steps=6", "verbose=3", "frequent=2", "num_image=200", "wandb_key=do-not-print-me")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """One short run that verifies twice, shared by the tests that only look at what it left."""
    return train(short(tmp_path_factory.mktemp("finished")), Runtime())


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


def test_the_log_tells_config_steps_and_results(finished):
    log = (finished / "training.log").read_text()
    assert describe_config(short(finished.parent)) in log
    assert "1 rank(s) on cpu, fp32, 8 image(s) a step" in log
    for row in read_rows(finished, "train"):
        assert f"step {row['step']}/6  epoch 0  loss {row['loss']:.4f}  lr {row['lr']:.5f}" in log
    for row in read_rows(finished, "verification"):
        assert f"step {row['step']}  synthetic: accuracy {row['accuracy']:.4f}" in log
    assert "note:" not in log
    assert [handler for handler in LOG.handlers if isinstance(handler, (ConsoleHandler, LogFile))] == []


def test_metrics_rows_are_complete(finished):
    rows = read_rows(finished, "train")
    assert [row["step"] for row in rows] == [1, 2, 4, 6]
    wanted = {"epoch", "loss", "lr", "images_per_s", "data_wait", "grad_norm", "target_cos", "eta_s"}
    assert all(wanted <= set(row) for row in rows)
    assert all(0 <= row["data_wait"] <= 1 and row["images_per_s"] > 0 for row in rows)
    assert [row["step"] for row in read_rows(finished, "verification")] == [3, 6]


def test_tensorboard_has_the_rows(finished):
    board = EventAccumulator(str(finished / "tensorboard"))
    board.Reload()
    for tag, kind, key in [
        ("train/loss", "train", "loss"),
        ("train/lr", "train", "lr"),
        ("train/images_per_s", "train", "images_per_s"),
        ("verification/synthetic/accuracy", "verification", "accuracy"),
        ("verification/synthetic/xnorm", "verification", "xnorm"),
    ]:
        rows = read_rows(finished, kind)
        assert [event.step for event in board.Scalars(tag)] == [row["step"] for row in rows]
        assert [event.value for event in board.Scalars(tag)] == pytest.approx([row[key] for row in rows], rel=1e-6)


def test_the_three_model_files_are_the_same_model(finished):
    images, _ = drawn_pairs(FaceRenderer(112), 4, seed=3)
    x = torch.from_numpy((images.transpose(0, 3, 1, 2).astype(np.float32) - 127.5) / 127.5)
    ours, _ = load_backbone(finished / "model.safetensors")
    with safe_open(finished / "model.safetensors", framework="pt") as file:
        meta = json.loads(file.metadata()[META_KEY])  # as stored: reading fills in what is missing
    plain, _ = load_backbone(finished / "model.pt", network="mbf_tiny")
    onnx = onnxruntime.InferenceSession(str(finished / "model.onnx"), providers=["CPUExecutionProvider"])
    with torch.inference_mode():
        expected = ours.eval()(x)
        torch.testing.assert_close(plain.eval()(x), expected, rtol=0, atol=0)
    (output,) = onnx.run(None, {onnx.get_inputs()[0].name: x.numpy()})
    np.testing.assert_allclose(output, expected.numpy(), rtol=1e-4, atol=1e-4)
    last = read_rows(finished, "verification")[-1]["accuracy"]
    facts = {
        "network": "mbf_tiny", "embedding_size": 512, "image_size": 112, "channel_order": "RGB", "mean": 127.5,
        "std": 127.5, "step": 6, "accuracy": {"synthetic": last},
    }  # fmt: skip
    assert {key: meta[key] for key in facts} == facts
    in_onnx = json.loads(onnx.get_modelmeta().custom_metadata_map[META_KEY])
    assert {key: in_onnx[key] for key in facts} == facts


def test_the_report_shows_the_run(finished):
    report = json.loads((finished / "report" / "report.json").read_text())
    rows = read_rows(finished, "train")
    assert report["training"] == {key: [row[key] for row in rows] for key in ("step", "loss", "lr")}
    (target,) = report["targets"][0]["outcomes"]
    assert target["accuracy"] == read_rows(finished, "verification")[-1]["accuracy"]
    page = (finished / "report" / "index.html").read_text()
    wrong = len(target["false_accepts"]) + len(target["false_rejects"])
    assert wrong > 0
    assert page.count("data:image/jpeg;base64,") == 2 * wrong
    ours, _ = load_backbone(finished / "model.safetensors")
    assert report["models"][0]["params"] == sum(parameter.numel() for parameter in ours.parameters())
    assert report["models"][0]["run"] == str(finished)
    assert report["models"][0]["data"] == "synthetic: 200 images of 20 identities"
    assert report["models"][0]["sha256"] == weights_sha256(ours.state_dict())
    assert report["models"][0]["margin"] == [1.0, 0.5, 0.0]


def test_onnx_is_left_out_when_asked(tmp_path):
    run = train(small(tmp_path, "max_steps=1", "export_onnx=False"), Runtime())
    assert not (run / "model.onnx").exists()
    assert not (run / "tensorboard").exists()


def test_what_was_given_in_vain_is_noted(tmp_path):
    rec = write_people(tmp_path / "people", {"ann": 6, "bob": 5}, size=32)
    overrides = [f"rec={rec}", "num_classes=None", "num_image=999", "save_all_states=True", "save_artifacts=True"]
    run = train(small(tmp_path, *overrides, "max_steps=1"), Runtime())
    log = (run / "training.log").read_text()
    assert f"note: num_image=999, but {rec} holds 11 images: 11 it is" in log
    assert "note: save_all_states=True has no effect yet" in log
    assert "note: save_artifacts=True has no effect yet" in log
    stored = json.loads((run / "config.json").read_text())
    assert (stored["num_classes"], stored["num_image"]) == (2, 11)


def test_it_learns_identities_it_can_then_tell_apart(tmp_path):
    # Two passes over 80 pictures of each of 12 identities take the loss far below that of guessing.
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


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["val_targets=['lfw']", "val_dir=/nowhere"], r"nowhere/lfw\.bin does not exist"),
        (["num_image=4", "max_steps=None"], "do not fill one global batch"),
        (["rec=/nowhere/at/all"], "nowhere/at/all"),
        (["image_size=120"], "multiple of 16"),
        (["margin_list=(0,0.5,0)"], "m1 > 0"),
        (["scale=5000"], "scale=5000"),
    ],
)
def test_mistakes_are_named_before_anything_is_written(tmp_path, overrides, message):
    with pytest.raises(InputError, match=message):
        train(tiny(tmp_path, *overrides), Runtime())
    assert not (tmp_path / "run").exists()


def test_a_network_too_large_for_onnx_is_named_before_anything_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(
        "recognition.export.onnx_file.MAX_PROTOBUF_BYTES", 4000
    )  # r2060, which has more than 2 GiB, takes 20 s
    with pytest.raises(InputError, match=r"r_tiny cannot be exported, set export_onnx=False"):
        train(small(tmp_path, "export_onnx=True"), Runtime())
    assert not (tmp_path / "run").exists()
