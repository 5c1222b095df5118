"""Runs on several ranks against what one process does, and against what each rank says of itself."""

import json

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from recognition.data.loader import Loader
from recognition.data.sources import open_source
from recognition.runtime import Runtime
from recognition.training import assembly
from recognition.training.assembly import build_step
from recognition.training.evaluation import averaged_statistics
from recognition.training.loop import train
from recognition.training.metrics import read_rows
from tests.ranks import run_ranks
from tests.training.small_runs import assert_same_weights, moving_average, small, watched

B, IMAGES, STEPS = 8, 72, 4  # 72 images on two ranks of 8 are 4 whole steps


def watched_run(runtime, folder, *overrides):
    with watched() as steps:
        train(small(folder, *overrides), runtime)
    return [(step.ids, step.state, step.centers) for step in steps]


TWO_RANKS = ("num_image=72", "num_classes=64", "max_steps=None", "sample_rate=0.5", "weight_decay=0", "verbose=2")


@pytest.fixture(scope="module", params=[0.0, 0.5], ids=["plain", "ema"])
def two_ranks(request, tmp_path_factory):
    """Run directory, moving average's decay, and per rank what `watched_run` saw in each step."""
    folder = tmp_path_factory.mktemp("ranks")
    overrides = (*TWO_RANKS, "val_targets=['synthetic']", f"ema_decay={request.param}")
    return folder / "run", request.param, run_ranks(watched_run, 2, folder, *overrides, timeout_s=120)


def test_ranks_share_each_global_batch_of_one_process(two_ranks):
    source = open_source("synthetic", num_classes=64, num_image=IMAGES, seed=2048, image_size=32)
    loader = Loader(source, batch_size=2 * B, runtime=Runtime(), seed=2048, num_steps=STEPS, image_size=32)
    ranks = two_ranks[2]
    assert [len(steps) for steps in ranks] == [STEPS, STEPS]
    for whole, (first, _, _), (second, _, _) in zip(loader, *ranks):
        assert len(first) == len(second) == B
        assert torch.equal(torch.cat([first, second]), whole.ids_B)
        assert len(set(whole.ids_B.tolist())) == 2 * B


def test_rows_are_written_once_and_count_all_ranks(two_ranks):
    rows = read_rows(two_ranks[0], "train")
    assert [row["step"] for row in rows] == [1, 2, 3, 4]
    assert [row["lr"] for row in rows] == pytest.approx([0.1, 0.075, 0.05, 0.025], rel=1e-12)
    assert [row["step"] for row in read_rows(two_ranks[0], "verification")] == [2, 4]


def test_ranks_keep_equal_parameters(two_ranks):
    for (_, first, _), (_, second, _) in zip(*two_ranks[2]):
        parameters = [key for key in first if "running" not in key]
        assert [key for key in parameters if not torch.equal(first[key], second[key])] == []


def test_each_step_moves_a_sample_of_the_centres(two_ranks):
    for steps in two_ranks[2]:
        # Only the first step tells: after it, momentum keeps all the centres that were ever sampled moving.
        before = build_step(small(two_ranks[0], "num_classes=64"), Runtime()).head.weight.detach()
        start = 0 if steps is two_ranks[2][0] else 32
        moved = (steps[0][2] != before[start : start + 32]).any(dim=1).sum()
        assert 16 <= moved < 32  # half of the 32, and the positives that the draw missed


@pytest.mark.parametrize("name", ["model.safetensors", "best.safetensors"])
def test_what_is_kept_has_the_mean_statistics_of_all_ranks(two_ranks, name):
    run, decay, ranks = two_ranks
    saved = load_file(run / name)
    step = read_best_step(run) if name.startswith("best") else STEPS
    first, second = (moving_average([state for _, state, _ in steps[:step]], decay) for steps in ranks)
    assert_same_weights(saved, {key: (first[key] + second[key]) / 2 for key in first}, rtol=1e-5, atol=1e-6)
    for key in ("bn1.running_mean", "bn1.running_var"):
        assert not torch.allclose(first[key], second[key], rtol=1e-3), key


def read_best_step(run):
    return json.loads((run / "best.json").read_text())["step"]


def linear(*args, **options):
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, 32), nn.Tanh(), nn.Linear(32, 32))


def run_without_norms(runtime, folder, batch_size):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(assembly, "build_backbone", linear)
        options = ("image_size=16", f"batch_size={batch_size}", "num_image=40", "num_epoch=2", "max_steps=None")
        with watched() as steps:
            run = train(small(folder, *options, "gradient_acc=2", "scale=16", "lr=0.02"), runtime)
    return load_file(run / "model.safetensors"), steps[-1].centers


@pytest.mark.parametrize("world", [2, 3])
def test_ranks_leave_the_model_of_one_process(tmp_path, world):
    # Without BatchNorm a run depends on its global batches alone.
    expected, centers = run_without_norms(Runtime(), tmp_path / "one", 6)
    ranks = run_ranks(run_without_norms, world, tmp_path / "many", 6 // world)
    assert_same_weights(ranks[0][0], expected, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(torch.cat([shard for _, shard in ranks]), centers, rtol=1e-4, atol=1e-6)
    rows = [read_rows(tmp_path / name / "run", "train") for name in ("one", "many")]
    assert [row["step"] for row in rows[0]] == [row["step"] for row in rows[1]] == [1, 2, 3, 4, 5, 6]
    assert [row["loss"] for row in rows[0]] == pytest.approx([row["loss"] for row in rows[1]], rel=1e-5)


def drawn_after_building(runtime, folder):
    take_step = build_step(small(folder), runtime)
    return next(take_step.backbone.parameters()).detach().clone(), torch.rand(8)


def test_ranks_begin_equal_but_drop_features_differently(tmp_path):
    (first, mine), (second, theirs) = run_ranks(drawn_after_building, 2, tmp_path)
    assert torch.equal(first, second)
    assert not torch.equal(mine, theirs)


def statistics_on(runtime):
    norm = nn.BatchNorm2d(3)
    norm.running_mean += runtime.rank
    norm.running_var += 2 * runtime.rank
    with averaged_statistics(nn.Sequential(norm), runtime):
        inside = norm.running_mean.clone(), norm.running_var.clone()
    return *inside, norm.running_mean.clone(), norm.running_var.clone()


def test_evaluation_uses_the_mean_statistics_and_gives_the_own_ones_back():
    for rank, statistics in enumerate(run_ranks(statistics_on, 3)):
        for found, expected in zip(statistics, (1.0, 3.0, float(rank), 1.0 + 2 * rank)):
            torch.testing.assert_close(found, torch.full((3,), expected))
