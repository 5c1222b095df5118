"""Whole runs with frozen parts: these keep every bit until they thaw, and a stop on the way changes nothing."""

import math

import pytest
import torch

from recognition.checkpoint.opening import open_checkpoint
from recognition.runtime import Runtime
from recognition.training.loop import train
from recognition.training.metrics import read_rows
from tests.ranks import run_ranks
from tests.training.small_runs import digests, small, unreported, watched

STEPS, THAW = 5, 3
PARTS = ["conv1", "bn1", "prelu", "layer1", "layer2"]
# A step is 8 images of 80 on any number of ranks: the fourth one begins at epoch 0.3.
FREEZE = f"freeze={PARTS}"
UNTIL = (FREEZE, "thaw_epoch=0.3")
# The scale of the last BatchNorm, which no run trains.
NEVER = {"features.weight"}
# BatchNorm follows: its gradient is zero but for rounding, of which some processors leave nothing.
AT_TIMES = {"fc.bias"}


def run(runtime, folder, *overrides):
    """Train in `folder`/run, 24 images a step whatever the ranks."""
    data = ("num_image=240", "num_classes=20", f"batch_size={24 // runtime.world}", "image_size=16")
    keep = ("checkpoint_keep=99", "verbose=99", f"max_steps={STEPS}")
    with unreported():
        return train(small(folder, *data, *keep, *overrides), runtime)


def watched_run(runtime, folder, *overrides):
    """The backbone after each step, with the centres of this rank."""
    with watched() as history:
        run(runtime, folder, *overrides)
    return [took.state for took in history], [took.centers for took in history]


def changed(before, after):
    return {name for name, tensor in after.items() if not torch.equal(tensor, before[name])}


def is_frozen(name):
    return name.split(".")[0] in PARTS


@pytest.mark.parametrize("world", [1, 2])
def test_frozen_parts_keep_every_bit_until_their_epoch_and_move_from_there(tmp_path, world):
    for states, _ in run_ranks(watched_run, world, tmp_path, *UNTIL):
        assert len(states) == STEPS
        for step in range(1, STEPS):
            moved = changed(states[step - 1], states[step])
            parts = {name for name in states[0] if name not in NEVER and (step >= THAW or not is_frozen(name))}
            # Statistics move with the forward pass of their step.
            assert moved - AT_TIMES == parts - AT_TIMES, step


@pytest.mark.parametrize(
    ("world", "options"),
    [(1, ()), (1, ("ema_decay=0.9",)), (2, ("optimizer=adamw", "lr=0.001")), (3, ())],
    ids=["sgd on 1", "average on 1", "adamw on 2", "sgd on 3"],
)
def test_a_run_that_stops_around_the_thaw_is_the_run_in_one_go(tmp_path, world, options):
    run_ranks(run, world, tmp_path / "whole", *UNTIL, *options)
    # To go on before the last frozen step, right at the thaw, and after one thawed step.
    for steps in (THAW - 1, THAW, THAW + 1, STEPS):
        run_ranks(run, world, tmp_path / "parts", *UNTIL, *options, f"max_steps={steps}")
    assert digests(tmp_path / "parts" / "run", STEPS) == digests(tmp_path / "whole" / "run", STEPS)
    assert [row["step"] for row in read_rows(tmp_path / "parts" / "run", "train")] == list(range(1, STEPS + 1))


@pytest.mark.parametrize(
    ("world", "options"), [(1, ("precision=fp16",)), (2, ()), (2, ("precision=fp16", "ema_decay=0.9"))], ids=str
)
def test_with_the_whole_backbone_frozen_the_centres_alone_train(tmp_path, world, options):
    ranks = run_ranks(watched_run, world, tmp_path / "whole", "freeze=['backbone']", *options)
    for states, centers in ranks:
        assert all(changed(states[0], state) == set() for state in states)
        assert all(not torch.equal(before, after) for before, after in zip(centers, centers[1:]))
    rows = read_rows(tmp_path / "whole" / "run", "train")
    assert [row["grad_norm"] for row in rows] == [0] * STEPS
    assert all(math.isfinite(row["loss"]) for row in rows)
    run_ranks(run, world, tmp_path / "parts", "freeze=['backbone']", *options, "max_steps=2")
    run_ranks(run, world, tmp_path / "parts", "freeze=['backbone']", *options)
    assert digests(tmp_path / "parts" / "run", STEPS) == digests(tmp_path / "whole" / "run", STEPS)


def test_a_backbone_that_thaws_whole_begins_to_train(tmp_path):
    options = ("freeze=['backbone']", "thaw_epoch=0.3")
    for states, _ in run_ranks(watched_run, 2, tmp_path, *options):
        moved = [changed(before, after) for before, after in zip(states, states[1:])]
        assert moved[: THAW - 1] == [set()] * (THAW - 1)
        assert moved[-1] - AT_TIMES == set(states[0]) - NEVER - AT_TIMES


def test_the_average_of_what_is_frozen_is_what_it_was(tmp_path):
    (states, _), *_ = run_ranks(watched_run, 1, tmp_path, FREEZE, "ema_decay=0.9")
    stored = open_checkpoint(tmp_path / "run" / "checkpoints" / f"step-{STEPS:08d}")
    average, own = (stored.tensor_file(name) for name in ("replicated.safetensors", "rank-00000-of-00001.safetensors"))
    for name, value in states[0].items():
        file = own if name.rpartition(".")[2] in ("running_mean", "running_var", "num_batches_tracked") else average
        kept = torch.equal(file.get(f"average.{name}"), value)
        assert kept == (is_frozen(name) or name in NEVER), name


def test_the_thaw_comes_with_its_image_on_any_number_of_ranks(tmp_path):
    """Two ranks write while all is frozen, one is there for the thaw, three go on."""
    states = {}
    for world, steps in ((2, THAW), (1, THAW + 1), (3, STEPS)):
        states[world] = run_ranks(watched_run, world, tmp_path, *UNTIL, f"max_steps={steps}")[0][0]
    weights = {name for name in states[1][0] if is_frozen(name) and not name.endswith("tracked")}
    assert changed(states[2][0], states[2][-1]) & weights == set()
    assert changed(states[2][-1], states[1][0]) & weights == weights
    assert changed(states[1][0], states[3][0]) & weights == weights


# ---- Learning rates by part ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [(), ("gradient_acc=2", "batch_size=12")], ids=str)
def test_factors_on_the_rate_stretch_the_first_step_of_their_part(tmp_path, options):
    """SGD's first step is a multiple of the rate; the frozen run says where it began."""
    free = ("max_steps=1", "max_grad_norm=0", *options)
    factors = {"layer1": 0.25, "layer2.0.conv1": 0.5, "fc": 0.125}
    texts = ["backbone:2", *(f"{part}:{factor}" for part, factor in factors.items()), "head:4"]
    start = assembled(tmp_path / "start")
    (plain,), (plain_centers,) = watched_run(Runtime(), tmp_path / "plain", *free)
    (found,), (centers,) = watched_run(Runtime(), tmp_path / "found", *free, f"lr_factors={texts}")
    trained = [name for name, _ in start.backbone.named_parameters() if name not in NEVER]
    for name in trained:
        factor = next((factors[part] for part in factors if f"{name}.".startswith(f"{part}.")), 2.0)
        was = start.backbone.state_dict()[name]
        torch.testing.assert_close(found[name] - was, factor * (plain[name] - was), rtol=1e-4, atol=1e-6)
        assert not torch.equal(plain[name], was)
    was = start.head.weight
    torch.testing.assert_close(centers - was, 4 * (plain_centers - was), rtol=1e-4, atol=1e-6)


def assembled(folder):
    from recognition.training.assembly import build_step

    return build_step(small(folder, "num_image=240", "num_classes=20", "image_size=16"), Runtime())
