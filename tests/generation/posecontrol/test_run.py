"""Whole runs: the files and tags that users know, each way to train that the first version described, stages."""

import json
import re

import numpy as np
import pytest
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from generation import ImageControlNet
from generation.posecontrol.checkpoint import read_checkpoint
from launch import poses as command
from recognition.errors import InputError
from recognition.weights import save_backbone
from tests.commands import run as run_command
from tests.generation.posecontrol.small_model import pictures, poses, recogniser
from tests.generation.posecontrol.small_set import run

SCALARS = ("TrainLoss", "TrainImageLoss", "TrainPoseLoss", "ValLoss", "ValImageLoss", "ValPSNR")


def log_of(folder):
    return (folder / "training.log").read_text()


@pytest.fixture(scope="module")
def finished(data, tmp_path_factory):
    """A run of two epochs that keeps a checkpoint of each."""
    out = tmp_path_factory.mktemp("finished")
    return run(data, out, "--save_interval", 1)


def test_files_that_users_know(finished):
    names = {path.name for path in finished.iterdir()}
    numbered = {
        f"{stem}_{epoch}.{end}"
        for stem, end in (("checkpoint_epoch", "pth"), ("training_curves_epoch", "png"))
        for epoch in (1, 2)
    }
    more = {"best_model.pth", "final_model.pth", "final_training_curves.png", "training_history.json"}
    assert numbered | more | {"last.pth", "split.json", "training.log"} == names - {"report"}


def test_curves_are_pictures(finished):
    pixels = np.asarray(Image.open(finished / "final_training_curves.png").convert("RGB"))
    assert pixels.shape[0] > 500
    assert pixels.std() > 5


def test_it_says_how_it_is_judged(finished, data, monkeypatch):
    """As it stands in the log, but for the interpreter."""
    pytest.importorskip("torchmetrics")
    (line,) = [line for line in log_of(finished).splitlines() if "launch/poses.py report" in line]
    assert "on the 1 people that it has not seen" in line
    assert run_command(command, *line.partition("launch/poses.py ")[2].split(), monkeypatch=monkeypatch) == 0
    assert (finished / "report" / "index.html").is_file()


def test_checkpoints_have_the_keys_that_users_know(finished):
    content = torch.load(finished / "checkpoint_epoch_2.pth", weights_only=True)
    known = "epoch model_state_dict optimizer_state_dict scheduler_state_dict best_val_loss args"
    assert {*known.split(), "train_metrics_history", "val_metrics_history"} <= content.keys()
    assert content["epoch"] == 2
    assert content["encoder"] == {"encoder": "cnn", "frozen": False}


def test_tags_that_users_know_and_no_others(finished):
    events = EventAccumulator(str(finished.parent / "logs"), size_guidance={"images": 0, "histograms": 0}).Reload()
    tags = events.Tags()
    assert set(tags["scalars"]) == {f"Epoch/{name}" for name in SCALARS}
    assert set(tags["images"]) == {"Images/Comparison", *(f"Images/Sample_{place}" for place in range(4))}
    assert set(tags["histograms"]) == {"Pose/Target", "Pose/Source", "Pose/Difference"}
    assert tags["tensors"] == []
    history = json.loads((finished / "training_history.json").read_text())
    for tag, (part, key) in {"Epoch/TrainLoss": ("train", "loss"), "Epoch/ValPSNR": ("val", "psnr_db")}.items():
        assert [event.step for event in events.Scalars(tag)] == [1, 2]
        shown = [event.value for event in events.Scalars(tag)]
        assert shown == pytest.approx([row[key] for row in history[part]], rel=1e-6)
    steps = EventAccumulator(str(finished.parent / "logs" / "steps")).Reload().Tags()
    assert {"Train/Loss", "Train/LearningRate"} <= set(steps["scalars"])


def test_the_history_is_what_the_losses_are(finished):
    history = json.loads((finished / "training_history.json").read_text())
    for part in ("train", "val"):
        assert [row["epoch"] for row in history[part]] == [1, 2]
        for row in history[part]:
            assert row["loss"] == pytest.approx(row["image_loss"] + 0.1 * row["pose_loss"], rel=1e-5)
    assert history["train"][1]["lr"] < history["train"][0]["lr"] == 1e-3


def test_the_best_model_is_that_of_the_least_validation_loss(finished):
    history = json.loads((finished / "training_history.json").read_text())["val"]
    best = min(history, key=lambda row: row["loss"])
    assert read_checkpoint(finished / "best_model.pth")["epoch"] == best["epoch"]


def test_a_model_is_opened_from_its_checkpoint(finished):
    first, second = (ImageControlNet.open(finished / name) for name in ("final_model.pth", "checkpoint_epoch_1.pth"))
    assert not first.training
    made = [model(pictures(), poses()).image_BCHW for model in (first, second, ImageControlNet.open(finished))]
    assert torch.equal(made[0], made[2])
    assert not torch.equal(made[0], made[1])


# As the first version documented them, in its order, with the sizes of a test.
SCENARIOS = {
    "frozen generator": ("--freeze_generator",),
    "mixed precision": ("--batch_size", 8, "--use_amp"),
    "accumulation": ("--batch_size", 2, "--gradient_accumulation_steps", 4),
    "l1": ("--loss_type", "l1"),
    "combined": ("--loss_type", "combined"),
    "more of the pose": ("--pose_loss_weight", 0.5),
    "less of the pose": ("--pose_loss_weight", 0.01),
    "little memory": ("--batch_size", 2, "--num_workers", 2, "--gradient_accumulation_steps", 8, "--use_amp"),
    "quick": ("--epochs", 2, "--save_interval", 1),
    "geodesic": ("--pose_dim", 6, "--pose_loss", "geodesic", "--generator", "vector"),
    "fp16": ("--use_amp", "--amp_dtype", "fp16"),
    "pictures elsewhere": (),
}


@pytest.mark.parametrize("name", SCENARIOS)
def test_scenarios(name, data, tmp_path):
    more = ("--image_dir", data) if name == "pictures elsewhere" else ()
    folder = run(data, tmp_path, "--epochs", 1, *more, *SCENARIOS[name])
    history = json.loads((folder / "training_history.json").read_text())
    assert np.isfinite([row["loss"] for part in history.values() for row in part]).all()
    assert (folder / "best_model.pth").is_file()


def test_two_stages(data, tmp_path):
    """A frozen generator stays as it is in stage 1; stage 2 begins at epoch 0 with its own lr and trains it."""
    first = run(data, tmp_path / "1", "--freeze_generator", "--lr", 1e-4)
    before = {k: v for k, v in read_checkpoint(first / "best_model.pth")["model_state_dict"].items()}
    start = ImageControlNet(**{"image_size": 32, "feature_dim": 16, "generator_width": 4, "encoder": "cnn"})
    assert start.generator.last.weight.shape == before["generator.last.weight"].shape
    assert "frozen as it was drawn at random" in log_of(first)
    second = run(data, tmp_path / "2", "--lr", 5e-5, "--resume", first / "best_model.pth", "--epochs", 2)
    assert "a new stage: the weights of" in log_of(second)
    history = json.loads((second / "training_history.json").read_text())["train"]
    assert [row["epoch"] for row in history] == [1, 2]
    assert history[0]["lr"] == 5e-5
    after = read_checkpoint(second / "final_model.pth")["model_state_dict"]
    assert not torch.equal(before["generator.last.weight"], after["generator.last.weight"])


def test_a_frozen_generator_does_not_change(data, tmp_path):
    zero = run(data, tmp_path / "0", "--reconstruct", "--epochs", 1)
    first = run(data, tmp_path / "1", "--freeze_generator", "--resume", zero / "best_model.pth", "--epochs", 1)
    before, after = (read_checkpoint(each / "final_model.pth")["model_state_dict"] for each in (zero, first))
    same = {name: torch.equal(before[name], after[name]) for name in before}
    assert all(value for name, value in same.items() if name.startswith("generator."))
    assert not all(value for name, value in same.items() if name.startswith("control."))
    assert "drawn at random" not in log_of(first)


def test_reconstruction_trains_no_control_and_beats_what_it_was(data, tmp_path):
    zero = run(data, tmp_path, "--reconstruct", "--epochs", 4)
    history = json.loads((zero / "training_history.json").read_text())["val"]
    assert history[-1]["image_loss"] < history[0]["image_loss"]
    assert not any(name.startswith("control.") for name in read_checkpoint(zero)["trainable"])


def test_with_a_recogniser_and_an_identity_loss(data, tmp_path):
    backbone = recogniser()
    facts = {"network": "r_tiny", "embedding_size": 32, "image_size": 32}
    save_backbone(tmp_path / "r.safetensors", backbone.network, facts)
    options = ("--encoder", "recogniser", "--recogniser", tmp_path / "r.safetensors", "--identity_loss_weight", 0.3)
    folder = run(data, tmp_path, *options, "--epochs", 1)
    for row in json.loads((folder / "training_history.json").read_text())["train"]:
        assert 0 < row["identity_loss"] < 2
        parts = row["image_loss"] + 0.1 * row["pose_loss"] + 0.3 * row["identity_loss"]
        assert row["loss"] == pytest.approx(parts, rel=1e-5)
    checkpoint = read_checkpoint(folder)
    assert checkpoint["encoder"]["encoder"] == "recogniser"
    assert len(checkpoint["encoder"]["sha256"]) == 64
    assert not any(name.startswith("encoder") for name in checkpoint["model_state_dict"])
    (tmp_path / "r.safetensors").rename(tmp_path / "moved.safetensors")
    with pytest.raises(InputError, match="say where it is"):
        ImageControlNet.open(folder)
    model = ImageControlNet.open(folder, recogniser=tmp_path / "moved.safetensors")
    assert model.encoder.backbone.embedding_size == 32
    with torch.no_grad():
        next(backbone.network.parameters()).mul_(2)
    save_backbone(tmp_path / "other.safetensors", backbone.network, facts)
    with pytest.raises(InputError, match="another encoder .sha256"):
        ImageControlNet.open(folder, recogniser=tmp_path / "other.safetensors")


def test_the_encoder_may_thaw_and_not_freeze_again(data, tmp_path):
    facts = {"network": "r_tiny", "embedding_size": 32, "image_size": 32}
    save_backbone(tmp_path / "r.safetensors", recogniser().network, facts)
    options = ("--encoder", "recogniser", "--recogniser", tmp_path / "r.safetensors", "--epochs", 1)
    first = run(data, tmp_path / "1", *options)
    second = run(data, tmp_path / "2", *options, "--finetune_backbone", "--resume", first)
    weights = [name for name in read_checkpoint(second)["model_state_dict"] if name.startswith("encoder.network.")]
    assert weights
    assert ImageControlNet.open(second).encoder.facts["frozen"] is False
    with pytest.raises(InputError, match="go on with --finetune_backbone"):
        run(data, tmp_path / "3", *options, "--resume", second)


def test_an_earlier_run_is_set_aside(data, tmp_path):
    first = run(data, tmp_path, "--epochs", 1)
    content = (first / "final_model.pth").read_bytes()
    run(data, tmp_path, "--epochs", 1)
    assert (tmp_path / "checkpoints.old-1" / "final_model.pth").read_bytes() == content
    assert list((tmp_path / "logs.old-1").glob("events*"))


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--resume", "nowhere.pth"), "checkpoint nowhere.pth does not exist"),
        (("--batch_size", 1), "make no pass of --batch_size 1 .*--proj_norm layer does not"),
        (("--min_angle_diff", 85), "no pair of the .* people to train"),
        (("--identity_loss_weight", 0.1), "name --identity_recogniser"),
    ],
)
def test_what_cannot_be_trained_is_said_and_leaves_nothing(more, said, data, tmp_path):
    with pytest.raises(InputError, match=said):
        run(data, tmp_path, *more)
    assert list(tmp_path.iterdir()) == []


def test_a_picture_that_is_damaged_is_named(data, tmp_path):
    import shutil

    broken = shutil.copytree(data, tmp_path / "data")
    for path in (broken / "video").iterdir():
        path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(InputError, match=r"video/p\d_\d\.png"):
        run(broken, tmp_path / "out")


def test_what_is_not_ours_is_refused(tmp_path, data):
    torch.save({"state_dict": {}}, tmp_path / "other.pth")
    with pytest.raises(InputError, match=re.escape("no checkpoint of launch/controlnet.py")):
        run(data, tmp_path / "out", "--resume", tmp_path / "other.pth")


def test_a_model_of_another_make_is_refused(finished, data, tmp_path):
    with pytest.raises(InputError, match="give it back --feature_dim 16 --generator spatial"):
        run(data, tmp_path, "--resume", finished, "--feature_dim", 8, "--generator", "vector", "--epochs", 5)
