"""Whole runs: files, tags, what a new user meets; and that attributes come to be changed, as somebody else sees it."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from generation import StarGANGenerator
from generation.pictures import batch_of
from generation.stargan.checkpoint import checkpoints_of, read_checkpoint
from generation.stargan.config import StarGANConfig
from generation.stargan.editing import edited
from generation.stargan.loop import rate_factor
from generation.stargan.pictures import open_pictures
from launch import stargan as command
from recognition.errors import InputError
from recognition.weights import save_backbone
from tests.commands import launch
from tests.commands import run as run_command
from tests.generation.posecontrol.small_model import recogniser
from tests.generation.stargan.small_gan import NAMES, SIDE, SMALL, labels, pixels, run, write_celeba

LOSSES = {
    *("D/loss", "D/loss_real", "D/loss_fake", "D/loss_cls", "D/loss_gp"),
    *("G/loss", "G/loss_fake", "G/loss_rec", "G/loss_cls", "G/loss_id", "G/loss_keep"),
}


@pytest.fixture(scope="module")
def finished(data, tmp_path_factory):
    return run(data, tmp_path_factory.mktemp("finished"))


def test_files_of_a_run(finished):
    names = {path.name for path in finished.iterdir()}
    kept = {f"checkpoint_epoch_{epoch}.pth" for epoch in (1, 2)}
    others = {"last.pth", "stargan_G.pth", "training_history.json", "training_curves.png", "samples", "logs"}
    assert names == kept | others | {"training.log"}
    assert [path.name for path in checkpoints_of(finished)] == sorted(kept)
    for path in (finished / "samples").glob("*.png"):
        sheet = np.asarray(Image.open(path))
        assert sheet.std() > 5
        assert sheet.shape[1] > sheet.shape[0] * 3 / 5  # four pictures kept apart, three columns


def test_the_generator_is_its_weights_and_nothing_else(finished):
    """As the seed's own script loads it."""
    model = StarGANGenerator(4, 2, 1)
    model.load_state_dict(torch.load(finished / "stargan_G.pth", weights_only=True))
    checkpoint = read_checkpoint(finished)
    theirs = checkpoint.generator()
    assert all(torch.equal(tensor, model.state_dict()[name]) for name, tensor in theirs.state_dict().items())
    assert not theirs.training
    assert not any(parameter.requires_grad for parameter in theirs.parameters())
    trained = checkpoint.generator(ema=False).state_dict()
    assert any(not torch.equal(tensor, trained[name]) for name, tensor in theirs.state_dict().items())
    assert (checkpoint.attributes, checkpoint.image_size, checkpoint.epoch) == (NAMES, 16, 2)


def test_losses_and_samples_in_tensorboard(finished):
    board = EventAccumulator(str(finished / "logs"), size_guidance={"images": 0}).Reload()
    others = {"LearningRate/g", "LearningRate/d", "ImagesPerSecond"}
    assert set(board.Tags()["scalars"]) == LOSSES | others
    assert [event.step for event in board.Scalars("D/loss")] == [2, 4, 6, 8, 9, 11, 13, 15, 17, 18]
    assert [event.step for event in board.Images("Images/Edits")] == [9, 18]
    assert set(board.Tags()["tensors"]) == {"Settings/text_summary"}


def test_history_has_a_row_for_each_epoch(finished):
    rows = json.loads((finished / "training_history.json").read_text())
    assert [row["epoch"] for row in rows] == [1, 2]
    assert all({"d_loss", "g_loss", "g_loss_rec"} <= row.keys() for row in rows)
    assert rows == read_checkpoint(finished).history


def test_the_generators_turn_comes_every_nth_step(data, tmp_path):
    folder = run(data, tmp_path, "--num_epochs", 1, "--n_critic", 4)
    assert read_checkpoint(folder)["ema_updates"] == 2  # 9 steps


def test_rates():
    cfg = StarGANConfig(num_epochs=4, lr_decay_epochs=2)
    found = [rate_factor(cfg, step, 3) for step in range(12)]
    assert found == pytest.approx([1] * 6 + [6 / 6, 5 / 6, 4 / 6, 3 / 6, 2 / 6, 1 / 6])
    assert rate_factor(StarGANConfig(num_epochs=4, lr_decay_epochs=0), 11, 3) == 1


def test_edits_do_what_the_label_says(data, tmp_path):
    """Red on the left is the one attribute, blue on the right the other: read off the pictures, by nobody's network."""
    options = ("--num_epochs", 30, "--n_critic", 1, "--g_lr", 2e-3, "--d_lr", 1e-3, "--residual", "--ema_decay", 0.9)
    more = ("--sample_interval", 30, "--save_interval", 30, "--g_conv_dim", 8, "--d_conv_dim", 8)
    folder = run(data, tmp_path, *options, *more, "--lambda_rec", 1, "--lambda_cls", 2)
    have = labels(8)
    shown = batch_of([pixels(values, 1000 + index) for index, values in enumerate(have)])
    made = edited(read_checkpoint(folder).generator(), shown, ~have)
    before, after = (
        torch.stack([each[:, 0, :, :8].mean((1, 2)), each[:, 2, :, 8:].mean((1, 2))], 1).numpy()
        for each in (shown, made)
    )
    whole_way = 150 / 255 * np.where(have, -1, 1)
    moved = (after - before) / whole_way
    assert moved.min() > 0.1
    assert moved.mean() > 0.4


def test_the_command_says_what_is_wrong_in_a_line(tmp_path, monkeypatch, capfd):
    assert run_command(command, "--data_dir", tmp_path / "none", monkeypatch=monkeypatch) == 2
    said = capfd.readouterr().err.strip().splitlines()
    assert len(said) == 1
    assert "none is no folder; give the one that holds the pictures" in said[0]


def test_a_set_that_does_not_have_the_attributes(data, tmp_path):
    with pytest.raises(InputError, match="'Blond_Hair' is not in the table; there are Male, Young"):
        run(data, tmp_path, "--selected_attrs", "Blond_Hair")
    assert not (tmp_path / "run").exists()


def test_two_ranks_by_torchrun(data, tmp_path):
    ended = launch("stargan.py", "--data_dir", data, "--save_dir", tmp_path / "run", *SMALL, ranks=2)
    assert ended.returncode == 0, ended.stderr
    assert read_checkpoint(tmp_path / "run").epoch == 2
    assert "2 rank(s) on cpu, fp32, 4 steps an epoch" in (tmp_path / "run" / "training.log").read_text()


def test_identity_is_looked_at_through_a_recogniser_that_stays_as_it_is(data, tmp_path):
    path = tmp_path / "recogniser.safetensors"
    save_backbone(path, recogniser(16).network, {"network": "r_tiny", "embedding_size": 32, "image_size": 16})
    before = path.read_bytes()
    how = ("--num_epochs", 1, "--n_critic", 1, "--lambda_id", 2, "--recogniser", path)
    (row,) = read_checkpoint(run(data, tmp_path, *how)).history
    parts = row["g_loss_fake"] + 10 * row["g_loss_rec"] + row["g_loss_cls"] + 2 * row["g_loss_id"]
    assert row["g_loss"] == pytest.approx(parts, rel=1e-5)
    assert 0 < row["g_loss_id"] < 2
    assert path.read_bytes() == before


def test_a_picture_that_cannot_be_shown_costs_the_samples_alone(tmp_path):
    folder = write_celeba(tmp_path / "celeba")
    pictures = open_pictures(folder, None, NAMES, SIDE).split("test")
    for index in range(len(pictures)):
        Path(pictures.describe(index)).write_bytes(b"no picture")
    out = run(folder, tmp_path)
    assert read_checkpoint(out).epoch == 2
    assert not (out / "samples").exists()
    assert "not written: " in (out / "training.log").read_text()


def test_a_generator_that_would_never_learn(data, tmp_path):
    with pytest.raises(InputError, match="--n_critic 19: the generator would never learn in 2 epochs of 9 steps"):
        run(data, tmp_path, "--n_critic", 19)
