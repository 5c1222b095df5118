"""When a run writes a checkpoint, which of them stay, and what becomes of it when one cannot be written."""

import dataclasses
import shutil
from types import SimpleNamespace

import numpy as np
import pytest

from recognition.checkpoint import writing
from recognition.checkpoint.folder import listed
from recognition.checkpoint.manifest import read_manifest
from recognition.checkpoint.writing import CheckpointNotWritten
from recognition.data.synthetic import FaceRenderer, drawn_pairs
from recognition.errors import InputError
from recognition.runtime import Runtime
from recognition.targets.pairs import PairsOutcome, PairsTarget
from recognition.training import assembly, loop, saving
from recognition.training.loop import train
from recognition.training.metrics import read_rows
from recognition.training.run_directory import read_status
from recognition.verification import Pairs
from recognition.verification.protocol import verify_pairs
from tests.ranks import run_ranks
from tests.training.small_runs import digests, small, unreported


def run(runtime, folder, *overrides):
    """Train ten steps, without a report, that are stored at the end alone unless `overrides` say more."""
    options = ("num_image=400", "max_steps=10", "checkpoint_steps=0", "checkpoint_minutes=0", "checkpoint_keep=99")
    with unreported():
        return train(small(folder, *options, *overrides), runtime)


def run_with_clock(runtime, folder, step_s_by_rank, *overrides):
    """The same, on a clock that stands still but for a step, which takes so many seconds on each rank."""
    now = [0.0]

    class Timed(assembly.TrainStep):
        def __call__(self, batches, **options):
            now[0] += step_s_by_rank[runtime.rank]
            return super().__call__(batches, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(saving, "time", SimpleNamespace(monotonic=lambda: now[0]))
        patch.setattr(assembly, "TrainStep", Timed)
        run(runtime, folder, *overrides)


def stored(folder):
    return [entry.step for entry in listed(folder / "run" / "checkpoints")]


# A step asks for a checkpoint as it begins: at 75 s the fourth is the first to find a minute gone, at 60 s the third.
@pytest.mark.parametrize(
    ("minutes", "step_s", "expected"),
    [(1, 25, [4, 8, 10]), (1, 30, [3, 6, 9, 10]), (2.5, 30, [6, 10]), (0, 1e6, [10])],
)
def test_a_checkpoint_is_due_so_many_minutes_after_the_last(tmp_path, minutes, step_s, expected):
    run_with_clock(Runtime(), tmp_path, [step_s], f"checkpoint_minutes={minutes}")
    assert stored(tmp_path) == expected


def test_minutes_count_from_whatever_checkpoint_was_the_last(tmp_path):
    run_with_clock(Runtime(), tmp_path, [25], "checkpoint_minutes=1", "checkpoint_steps=3")
    assert stored(tmp_path) == [3, 6, 9, 10]


@pytest.mark.parametrize(
    ("other_s", "main_s", "expected"), [(1e6, 25, [4, 8, 10]), (0, 25, [4, 8, 10]), (1e6, 0, [10])]
)
def test_of_several_ranks_the_clock_of_the_main_one_counts(tmp_path, other_s, main_s, expected):
    run_ranks(run_with_clock, 2, tmp_path, [main_s, other_s], "checkpoint_minutes=1")
    assert stored(tmp_path) == expected


def test_a_checkpoint_is_due_every_so_many_steps_and_at_the_end(tmp_path):
    run(Runtime(), tmp_path, "checkpoint_steps=4")
    assert stored(tmp_path) == [4, 8, 10]


def test_the_last_step_is_stored_whatever_else_is_due(tmp_path):
    run(Runtime(), tmp_path)
    assert stored(tmp_path) == [10]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("checkpoint_steps=1", "checkpoint_keep=2"), [9, 10]),
        (("checkpoint_steps=2", "checkpoint_keep=2", "checkpoint_keep_every=4"), [4, 8, 10]),
        (("checkpoint_steps=3", "checkpoint_keep=1"), [10]),
    ],
)
def test_what_newer_ones_make_superfluous_is_cleared_away(tmp_path, options, expected):
    run(Runtime(), tmp_path, *options)
    assert stored(tmp_path) == expected
    assert sorted(path.name for path in (tmp_path / "run" / "checkpoints").glob("step-*")) == [
        f"step-{step:08d}" for step in expected
    ]


@pytest.fixture
def accuracies(monkeypatch):
    """Let runs verify on one target whose accuracy in each verification is given: the best of ten is the sixth."""
    images, issame = drawn_pairs(FaceRenderer(32), 10, seed=0)
    plain = verify_pairs(np.random.default_rng(0).normal(size=(20, 4)), issame)
    given = iter((0.5, 0.4, 0.7, 0.6, 0.6, 0.9, 0.8, 0.7, 0.9, 0.1))

    def score(target, model, **options):
        return PairsOutcome(dataclasses.replace(plain, accuracy=next(given)), 1.0)

    target = PairsTarget("given", Pairs(images, issame))
    monkeypatch.setattr(PairsTarget, "score", score)
    monkeypatch.setattr(loop, "open_targets", lambda cfg, runtime: {target.name: target})


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        # Better than all before: steps 1, 3 and 6.
        (("checkpoint_keep=99",), [1, 3, 6, 10]),
        (("checkpoint_keep=1",), [6, 10]),
        (("checkpoint_keep=2", "checkpoint_steps=1"), [6, 9, 10]),
        (("checkpoint_keep=2", "checkpoint_steps=1", "checkpoint_keep_best=False"), [9, 10]),
        (("checkpoint_keep=99", "checkpoint_keep_best=False"), [10]),
    ],
)
def test_the_best_so_far_is_stored_and_stays_until_a_better_one(tmp_path, accuracies, options, expected):
    run(Runtime(), tmp_path, "verbose=1", *options)
    assert stored(tmp_path) == expected
    best = [entry.step for entry in listed(tmp_path / "run" / "checkpoints") if read_manifest(entry.path).is_best]
    assert best == [step for step in expected if step in (1, 3, 6)]


def run_on_a_full_disk(runtime, folder, full_steps, full_rank, *overrides):
    """A run whose disk has no room after each of `full_steps`, as `full_rank` sees it; the error that ends it."""
    taken = [0]

    class Counted(assembly.TrainStep):
        def __call__(self, batches, *, step, **options):
            taken[0] = step + 1
            return super().__call__(batches, step=step, **options)

    def disk_usage(path):
        is_full = runtime.rank == full_rank and taken[0] in full_steps
        return SimpleNamespace(free=4321 if is_full else 1 << 50)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(assembly, "TrainStep", Counted)
        patch.setattr(writing, "shutil", SimpleNamespace(disk_usage=disk_usage, rmtree=shutil.rmtree))
        try:
            run(runtime, folder, "checkpoint_steps=2", *overrides)
        except InputError as error:
            return error


@pytest.mark.parametrize(("world", "full_rank"), [(1, 0), (2, 0), (2, 1)])
def test_a_run_goes_on_without_a_checkpoint_that_found_no_room(tmp_path, world, full_rank):
    run_ranks(run, world, tmp_path / "whole")
    found = run_ranks(run_on_a_full_disk, world, tmp_path / "full", (4, 6), full_rank)
    assert found == [None] * world
    assert stored(tmp_path / "full") == [2, 8, 10]
    assert digests(tmp_path / "full" / "run", 10) == digests(tmp_path / "whole" / "run", 10)
    warnings = [line for line in (tmp_path / "full/run/training.log").read_text().splitlines() if "not written" in line]
    assert len(warnings) == 2
    for step, line in zip((4, 6), warnings):
        assert f"the checkpoint of step {step} was not written" in line
        assert "4321 are free in" in line
    assert read_status(tmp_path / "full" / "run")["state"] == "finished"


@pytest.mark.parametrize(("world", "full_rank"), [(1, 0), (2, 1)])
def test_a_run_that_is_to_stop_for_it_ends_with_one_line_on_every_rank(tmp_path, world, full_rank):
    options = ("checkpoint_error=stop",)
    errors = run_ranks(run_on_a_full_disk, world, tmp_path, (4, 6), full_rank, *options)
    assert len({str(error) for error in errors}) == 1
    for error in errors:
        assert type(error) is CheckpointNotWritten
        assert str(error).startswith("the checkpoint of step 4 was not written: it needs ")
        assert "\n" not in str(error)
    assert stored(tmp_path) == [2]
    assert read_status(tmp_path / "run")["state"] == "failed"
    run_ranks(run, world, tmp_path)
    assert [row["step"] for row in read_rows(tmp_path / "run", "train")] == list(range(1, 11))
