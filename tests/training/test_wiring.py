"""That every value of the config, and every number counted by the loop, arrives where it acts."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from recognition.data.sources import open_source
from recognition.data.transforms import flip_mask
from recognition.runtime import Runtime
from recognition.training import assembly
from recognition.training.assembly import build_step
from recognition.training.loop import train
from recognition.training.metrics import read_rows
from tests.training.linear_backbone import batch
from tests.training.small_runs import small, watched
from tests.training.test_step import make_step


def rows_of(folder, *overrides):
    return read_rows(train(small(folder, *overrides), Runtime()), "train")


@pytest.fixture(scope="module")
def default_rows(tmp_path_factory):
    return rows_of(tmp_path_factory.mktemp("default"))


@pytest.mark.parametrize(
    "change",
    [
        "dropout=0.4", "momentum=0.5", "scale=32", "margin_list=(1.0,0.0,0.4)", "margin_gradient=straight_through",
        "interclass_filtering_threshold=0.1", "sample_rate=0.5", "weight_decay=0.1", "optimizer=adamw", "lr=0.02",
        "max_grad_norm=0.1", "flip=False", "augment=grey:0.5", "dali_aug=True", "gradient_acc=2", "seed=7",
        "batch_size=6", "embedding_size=16",
        "network=mbf_tiny", "precision=bf16", "image_size=48", "num_classes=30", "num_image=150",
    ],
)  # fmt: skip
def test_a_key_changes_the_losses(tmp_path, default_rows, change):
    losses = [row["loss"] for row in rows_of(tmp_path, change)]
    assert len(losses) == 4
    assert losses != [row["loss"] for row in default_rows]


def test_the_default_run_repeats_itself(tmp_path, default_rows):
    # Without this, keys that are dropped would go unseen above.
    assert [row["loss"] for row in rows_of(tmp_path)] == [row["loss"] for row in default_rows]


def test_learning_rates_follow_the_schedule_of_the_whole_run(tmp_path, default_rows):
    # 200 images in batches of 8: 25 steps, of which 0.2 epochs are 5 of warm-up; only 8 are taken.
    rows = rows_of(tmp_path, "schedule=cosine", "warmup_epoch=0.2", "max_steps=8", "lr=0.05")
    expected = [0.01, 0.02, 0.03, 0.04, 0.05] + [0.025 * (1 + math.cos(math.pi * k / 20)) for k in (0, 1, 2)]
    assert [row["lr"] for row in rows] == pytest.approx(expected, rel=1e-12)
    assert [row["lr"] for row in default_rows] == pytest.approx([0.1 * (1 - k / 25) for k in range(4)], rel=1e-12)


def test_the_rate_logged_is_the_rate_used(tmp_path):
    with watched() as steps:
        rows = rows_of(tmp_path, "warmup_epoch=0.2")
    assert [step.lr for step in steps] == [row["lr"] for row in rows]


def test_accumulation_draws_its_batches_within_the_steps(tmp_path):
    with watched() as steps:
        rows = rows_of(tmp_path, "gradient_acc=2", "max_steps=4")
    assert [row["step"] for row in rows] == [1, 2, 3, 4]
    assert [len(step.batches) for step in steps] == [2, 2, 2, 2]
    assert len(set(torch.cat([step.ids for step in steps]).tolist())) == 4 * 2 * 8
    # 200 images are 12 steps of 16.
    assert [row["lr"] for row in rows] == pytest.approx([0.1 * (1 - k / 12) for k in range(4)], rel=1e-12)


def test_a_run_without_a_limit_sees_every_epoch(tmp_path):
    with watched() as steps:
        rows = rows_of(tmp_path, "num_image=24", "num_epoch=2", "max_steps=None", "frequent=4")
    assert [row["step"] for row in rows] == [1, 4, 6]
    assert sorted(torch.cat([step.ids for step in steps]).tolist()) == sorted([*range(24)] * 2)
    assert [row["epoch"] for row in rows] == [0, 1, 1]


@pytest.mark.parametrize("flip", [True, False])
@pytest.mark.parametrize("seed", [3, 4])
def test_the_network_gets_the_pictures_mirrored_as_the_key_says(tmp_path, flip, seed):
    size = ("num_image=16", "num_classes=5", "num_epoch=2", "max_steps=None")
    cfg = small(tmp_path, *size, f"seed={seed}", f"flip={flip}")
    with watched() as steps:
        train(cfg, Runtime())
    source = open_source("synthetic", num_classes=5, num_image=16, seed=seed, image_size=32)
    mirrored = {}
    for step in steps:
        ((taken,), (x_BCHW,)) = step.batches, step.inputs
        flips = flip_mask(taken.ids_B, taken.epochs_B, seed).tolist() if flip else [False] * 8
        for sample, epoch, is_flipped, x_CHW in zip(taken.ids_B.tolist(), taken.epochs_B.tolist(), flips, x_BCHW):
            picture = source.read(sample).payload.astype(np.float32)
            expected = (picture[:, ::-1] if is_flipped else picture) / 127.5 - 1
            np.testing.assert_allclose(x_CHW.numpy().transpose(1, 2, 0), expected, rtol=0, atol=1e-6)
            mirrored[sample, epoch] = is_flipped
    assert len(mirrored) == 32
    if flip:
        assert any(mirrored[sample, 0] != mirrored[sample, 1] for sample in range(16))


def test_labels_belong_to_their_pictures(tmp_path):
    with watched() as steps:
        train(small(tmp_path), Runtime())
    for step in steps:
        assert torch.equal(step.batches[0].labels_B, step.ids % 20)


def test_all_batches_of_a_step_share_its_sample_and_the_next_step_has_another():
    take_step = make_step(Runtime(), gradient_acc=3)
    keys = []
    take_step.head.register_forward_pre_hook(lambda _, args: keys.append(args[2]))
    for step in range(2):
        take_step([batch(0, 4), batch(4, 8), batch(8, 12)], step=step, lr=0.1)
    assert keys == [0, 0, 0, 1, 1, 1]


def test_the_seed_reaches_weights_centres_order_and_pictures(tmp_path):
    taken = {}
    for seed in (1, 2):
        cfg = small(tmp_path / str(seed), f"seed={seed}", "num_image=8", "max_steps=1")
        take_step = build_step(cfg, Runtime())
        with watched() as steps:
            train(cfg, Runtime())
        order = steps[0].ids.tolist()
        pictures = steps[0].batches[0].images_BHWC[np.argsort(order)]
        taken[seed] = (next(take_step.backbone.parameters()), take_step.head.weight, order, pictures)
    for first, second in zip(*taken.values()):
        same = first == second if isinstance(first, list) else torch.equal(first, second)
        assert not same


def test_loading_is_done_as_the_config_says(tmp_path, monkeypatch):
    given = {}

    class SpiedLoader(assembly.Loader):
        def __init__(self, source, **options):
            given.update(options)
            super().__init__(source, **options)

    monkeypatch.setattr(assembly, "Loader", SpiedLoader)
    train(small(tmp_path, "num_workers=3", "prefetch_batches=5", "data_timeout_s=7", "max_steps=1"), Runtime())
    assert (given["num_workers"], given["prefetch"], given["timeout_s"]) == (3, 5, 7.0)


@pytest.mark.parametrize("wanted", [True, False])
def test_gradient_checkpointing_reaches_the_backbone(tmp_path, monkeypatch, wanted):
    given = []
    monkeypatch.setattr(assembly, "build_backbone", lambda *args, **options: given.append(options) or nn.Identity())
    monkeypatch.setattr(assembly, "TrainStep", lambda *args, **options: None)
    build_step(small(tmp_path, f"gradient_checkpointing={wanted}"), Runtime())
    assert given[0]["gradient_checkpointing"] is wanted
