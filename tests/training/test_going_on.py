"""Corners of going on: steps that did not count, positions between steps, checkpoints that are not worth keeping."""

import pytest
import torch

from recognition.checkpoint.folder import listed
from recognition.checkpoint.opening import open_checkpoint
from recognition.runtime import Runtime
from recognition.training import assembly, loss_scale
from recognition.training.freezing import thaw_step
from recognition.training.loop import train
from recognition.training.metrics import read_rows
from recognition.training.schedule import step_counts
from recognition.training.state import restore
from tests.ranks import run_ranks
from tests.training.linear_backbone import batch
from tests.training.small_runs import small
from tests.training.test_guards import changed, snapshot
from tests.training.test_resume import run
from tests.training.test_step import make_step


def after_two_bad_steps(on_device, options):
    """What a good step makes of weights after two that were not finite, and the counts it goes by."""
    take_step = make_step(Runtime(), **options)
    take_step.reads_at_once = not on_device
    for step in range(4):
        hook = None
        if step in (1, 2):
            hook = take_step.backbone[1].weight.register_hook(lambda grad: grad * torch.nan)
        take_step([batch(8 * step, 8 * step + 8)], step=step, lr=0.01)
        if hook is not None:
            hook.remove()
    take_step.head.flush()
    return snapshot(take_step)


@pytest.mark.parametrize("rate", [1.0, 0.5])
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_steps_skipped_by_a_flag_count_as_little_as_those_skipped_by_a_branch(optimizer, rate):
    options = {"optimizer": optimizer, "sample_rate": rate, "weight_decay": 0.0}
    branch, flag = (after_two_bad_steps(on_device, options) for on_device in (False, True))
    # Of SGD the clock is the number of a step, bad ones among them; how many those were is known where it is needed.
    ignored = ("head.skipped", "head.missed") + (("head.clock",) if optimizer == "sgd" else ())
    names = [name for name in branch if not name.startswith(ignored)]
    assert len(names) > 8
    assert changed({name: branch[name] for name in names}, flag) == []


class NeverFinite(assembly.TrainStep):
    def _clip(self):
        return super()._clip() * torch.nan


def test_adamw_goes_on_from_before_the_first_step_that_counted(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(assembly, "TrainStep", NeverFinite)
        run(Runtime(), tmp_path, "optimizer=adamw", "lr=0.001", "max_steps=1")
    run(Runtime(), tmp_path, "optimizer=adamw", "lr=0.001", "max_steps=3")
    assert [row["step"] for row in read_rows(tmp_path / "run", "train")] == [1, 2, 3]


def test_a_loss_scale_that_nothing_makes_overflow_ends_somewhere(monkeypatch):
    monkeypatch.setattr(loss_scale, "GROWTH_STEPS", 1)
    scale = loss_scale.LossScale(True, torch.device("cpu"))
    for _ in range(300):
        scale.update(torch.tensor(0.0))
    assert scale.scale.item() == 2.0**24


@pytest.mark.parametrize(
    ("batch_size", "first", "seen", "expected"),
    [(8, 0, 0, 13), (30, 3, 112, 3), (30, 3, 96, 4), (60, 1, 112, 1), (8, 12, 96, 13), (8, 13, 104, 13)],
)
def test_what_has_thawed_stays_so_however_steps_are_counted(batch_size, first, seen, expected):
    options = {"num_samples": 100, "global_batch": batch_size, "first": first, "seen": seen}
    assert thaw_step(1.0, **options) == expected


def test_steps_are_counted_in_whole_images():
    options = {"num_samples": 100, "batch_size": 29, "world": 1, "gradient_acc": 1}
    assert step_counts(num_epoch=0.58, warmup_epoch=0.29, **options) == (2, 1)


def few_classes(runtime, folder, *overrides):
    options = ("num_classes=4", "sample_rate=0.5", "optimizer=adamw", "lr=0.001", "verbose=99", "val_targets=[]")
    return run(runtime, folder, *options, *overrides)


def counts_now(runtime, folder):
    overrides = ("num_classes=4", "sample_rate=0.5", "optimizer=adamw", "num_image=400")
    take_step = assembly.build_step(small(folder, *overrides), runtime)
    restore(take_step, open_checkpoint(folder / "run" / "checkpoints" / "step-00000006", runtime))
    centers = take_step.head.centers
    counts = centers.touches(None if not centers.has_clock else torch.arange(centers.num_local))
    return counts.expand(centers.num_local).tolist()


@pytest.mark.parametrize("world", [1, 2, 4])
def test_shards_of_one_class_that_every_step_took_keep_their_counts(tmp_path, world):
    run_ranks(few_classes, 4, tmp_path, "max_steps=6")
    assert sum(run_ranks(counts_now, world, tmp_path), []) == [6, 6, 6, 6]


def test_a_damaged_checkpoint_does_not_push_a_sound_one_out(tmp_path):
    run(Runtime(), tmp_path, "max_steps=6", "checkpoint_steps=3", "checkpoint_keep=2", "val_targets=[]")
    folder = tmp_path / "run" / "checkpoints"
    (folder / "step-00000006" / "replicated.safetensors").write_bytes(b"")
    run(Runtime(), tmp_path, "max_steps=8", "checkpoint_steps=0", "checkpoint_keep=2", "val_targets=[]")
    assert [entry.step for entry in listed(folder)] == [3, 6, 8]


def test_a_run_that_reports_again_verifies_again_and_says_so_once(tmp_path, monkeypatch):
    from recognition.training import loop

    with monkeypatch.context() as patch:
        patch.setattr(loop, "finish_run", lambda *args, **options: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            run(Runtime(), tmp_path)
    run(Runtime(), tmp_path)
    assert [row["step"] for row in read_rows(tmp_path / "run", "verification")] == [4, 8]


@pytest.mark.parametrize("variable", ["TORCHELASTIC_RESTART_COUNT", "SLURM_RESTART_COUNT"])
def test_starting_anew_is_for_the_first_start_of_a_job(tmp_path, monkeypatch, variable):
    run(Runtime(), tmp_path, "max_steps=3", "resume=False")
    monkeypatch.setenv(variable, "1")
    run(Runtime(), tmp_path, "max_steps=5", "resume=False")
    assert [row["step"] for row in read_rows(tmp_path / "run", "train")] == [1, 2, 3, 4, 5]
    assert not (tmp_path / "run.old-1").exists()


def test_status_tells_the_step_all_along(tmp_path, monkeypatch):
    from recognition.training.run_directory import read_status

    seen = []

    class Watched(assembly.TrainStep):
        def __call__(self, batches, *, step, **options):
            seen.append((step, read_status(tmp_path / "run")["step"]))
            return super().__call__(batches, step=step, **options)

    monkeypatch.setattr(assembly, "TrainStep", Watched)
    train(small(tmp_path, "num_image=400", "max_steps=6", "checkpoint_steps=2"), Runtime())
    assert seen == [(0, 0), (1, 0), (2, 2), (3, 2), (4, 4), (5, 4)]
    status = read_status(tmp_path / "run")
    assert (status["state"], status["step"], status["steps"]) == ("finished", 6, 6)
