"""Runs that were interrupted end as if nothing had been, in files and numbers, wherever they were stopped."""

import json
import os
import shutil

import pytest
import torch

from generation.posecontrol import assembly
from generation.posecontrol.checkpoint import read_checkpoint
from generation.posecontrol.step import PoseControlStep
from recognition.errors import InputError, ReplicasDiffer, Stopped
from tests.generation.posecontrol.small_set import run
from tests.generation.resuming import same, stopping
from tests.ranks import run_ranks

MODES = {
    "accumulated": ("--batch_size", 2, "--gradient_accumulation_steps", 3),
    "bf16, vector": ("--use_amp", "--generator", "vector"),
    "fp16, layer norm": ("--use_amp", "--amp_dtype", "fp16", "--proj_norm", "layer"),
}
STATES = ("model_state_dict", "optimizer_state_dict", "scaler_state_dict", "best_val_loss", "val_metrics_history")


def equal(one, other):
    first, second = read_checkpoint(one / "final_model.pth"), read_checkpoint(other / "final_model.pth")
    return {key: same(first[key], second[key]) for key in (*STATES, "train_metrics_history")}


Stops = stopping(PoseControlStep)


def interrupted(data, out, at, *options, runtime=None):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Stops, "at", at)
        patch.setattr(assembly, "PoseControlStep", Stops)
        with pytest.raises(Stopped):
            run(data, out, *options, runtime=runtime)


@pytest.mark.parametrize(
    "mode", [next(iter(MODES)), *(pytest.param(m, marks=pytest.mark.nightly) for m in [*MODES][1:])]
)
def test_two_epochs_and_two_more_are_four(mode, data, tmp_path):
    options = ("--save_interval", 2, "--epochs", 4, *MODES[mode])
    whole = run(data, tmp_path / "whole", *options)
    other = run(data, tmp_path / "rest", *options, "--resume", whole / "checkpoint_epoch_2.pth")
    assert all(equal(whole, other).values())
    history = json.loads((other / "training_history.json").read_text())
    assert [row["epoch"] for row in history["train"]] == [1, 2, 3, 4]


@pytest.mark.parametrize("at", [2, 6])
def test_a_signal_amid_an_epoch(at, data, tmp_path):
    whole = run(data, tmp_path / "whole")
    interrupted(data, tmp_path / "parts", at)
    assert (
        read_checkpoint(tmp_path / "parts" / "checkpoints")["step_in_epoch"] == 3
    )  # the signal comes while a step begins
    parts = run(data, tmp_path / "parts", "--resume", "auto")
    assert all(equal(whole, parts).values())
    assert not (tmp_path / "parts" / "checkpoints.old-1").exists()


def two_ranks(runtime, data, out, at):
    options = ("--batch_size", 2)
    run(data, out / "whole", *options, runtime=runtime)
    interrupted(data, out / "parts", at, *options, runtime=runtime)
    run(data, out / "parts", *options, "--resume", "auto", runtime=runtime)


def test_on_two_ranks(data, tmp_path):
    run_ranks(two_ranks, 2, data, tmp_path, 3)
    assert all(equal(tmp_path / "whole" / "checkpoints", tmp_path / "parts" / "checkpoints").values())


def corrupted(runtime, data, out):
    class Corrupts(PoseControlStep):
        def __call__(self, *args, **options):
            output = super().__call__(*args, **options)
            if self.runtime.rank == 1:
                with torch.no_grad():
                    self.model.generator.last.bias[0] += 1e-6
            return output

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(assembly, "PoseControlStep", Corrupts)
        with pytest.raises(ReplicasDiffer, match=r"generator\.last\.bias"):
            run(data, out, "--batch_size", 2, runtime=runtime)


def test_ranks_that_come_to_differ_are_noticed(data, tmp_path):
    run_ranks(corrupted, 2, data, tmp_path)


def test_a_job_that_is_started_again_by_itself_goes_on(data, tmp_path, monkeypatch):
    """Whatever it was told at first: another checkpoint, a new stage."""
    first = run(data, tmp_path / "first", "--epochs", 1)
    told = ("--resume", first / "last.pth", "--new_stage")
    whole = run(data, tmp_path / "whole", *told)
    interrupted(data, tmp_path / "parts", 6, *told)
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")
    parts = run(data, tmp_path / "parts", *told)
    assert all(equal(whole, parts).values())
    assert not (tmp_path / "parts" / "checkpoints.old-1").exists()


def test_a_finished_run_says_so(data, tmp_path, capsys):
    done = run(data, tmp_path, "--epochs", 1)
    with pytest.raises(InputError, match="has 1 epochs done, and --epochs 1 counts them in: nothing is left"):
        run(data, tmp_path, "--epochs", 1, "--resume", done / "best_model.pth")
    run(data, tmp_path, "--epochs", 1, "--resume", "auto")
    assert "nothing is left to do" in capsys.readouterr().out
    again = run(data, tmp_path / "again", "--epochs", 1, "--resume", done / "best_model.pth", "--new_stage")
    assert len(json.loads((again / "training_history.json").read_text())["train"]) == 1


def test_auto_begins_anew_where_there_is_nothing(data, tmp_path):
    folder = run(data, tmp_path, "--epochs", 1, "--resume", "auto")
    assert read_checkpoint(folder)["epoch"] == 1


def test_more_epochs_go_on_and_what_changed_is_said(data, tmp_path):
    first = run(data, tmp_path, "--epochs", 1)
    folder = run(data, tmp_path, "--epochs", 3, "--lr", 2e-3, "--resume", first / "last.pth")
    log = (folder / "training.log").read_text()
    assert "at epoch 1" in log
    assert "note: epochs is 3 now, and was 1" in log
    assert "note: lr is 0.002 now, and was 0.001" in log


def test_another_weight_decay_counts(data, tmp_path):
    """The optimizer's state has the old one in it."""
    first = run(data, tmp_path, "--epochs", 1)
    for name, decay in (("a", 1e-5), ("b", 0.5)):
        run(data, tmp_path / name, "--epochs", 2, "--weight_decay", decay, "--resume", first / "last.pth")
    ends = [read_checkpoint(tmp_path / name / "checkpoints")["model_state_dict"] for name in ("a", "b")]
    assert not same(*ends)


def test_other_data_is_another_stage(data, tmp_path):
    first = run(data, tmp_path / "1", "--epochs", 1)
    other = shutil.copytree(data, tmp_path / "data")
    content = json.loads((other / "front_metadata.json").read_text())
    content["poses"][0] = [1.0, 2.0, 3.0]
    (other / "front_metadata.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match="trained on other data"):
        run(other, tmp_path / "2", "--epochs", 2, "--resume", first)
    assert run(other, tmp_path / "2", "--epochs", 1, "--resume", first, "--new_stage")


def test_amid_an_epoch_of_other_steps(data, tmp_path):
    interrupted(data, tmp_path, 2)
    with pytest.raises(InputError, match="--batch_size 4 --gradient_accumulation_steps 1 on 1 rank"):
        run(data, tmp_path, "--resume", "auto", "--batch_size", 2)


def test_a_full_disk_costs_an_epochs_files_and_not_the_run(data, tmp_path, monkeypatch):
    from generation.posecontrol import loop

    kept = loop.save_checkpoint

    def no_room(path, state):
        if path.name != "final_model.pth":
            raise OSError(28, "No space left on device", str(path))
        kept(path, state)

    monkeypatch.setattr(loop, "save_checkpoint", no_room)
    folder = run(data, tmp_path, "--epochs", 1)
    assert {path.name for path in folder.glob("*.pth")} == {"final_model.pth"}
    assert "not written: " in (folder / "training.log").read_text()


def test_a_living_run_is_left_alone(data, tmp_path):
    from recognition.atomic import hold

    folder = run(data, tmp_path, "--epochs", 1)
    before = sorted(path.name for path in folder.iterdir())
    handle = os.open(folder, os.O_RDONLY)
    hold(handle, folder)
    try:
        with pytest.raises(InputError, match="another process writes here"):
            run(data, tmp_path, "--epochs", 1)
    finally:
        os.close(handle)
    assert sorted(path.name for path in folder.iterdir()) == before
    assert not (tmp_path / "checkpoints.old-1").exists()
