"""Runs that were interrupted end as if nothing had been, bit for bit, wherever they were stopped."""

import pytest
import torch

from generation.stargan import assembly, loop
from generation.stargan.checkpoint import read_checkpoint
from generation.stargan.step import StarGANStep
from recognition.errors import InputError, ReplicasDiffer, Stopped
from tests.generation.resuming import same, stopping
from tests.generation.stargan.small_gan import run, write_celeba
from tests.ranks import run_ranks

STATES = (
    *("generator", "generator_ema", "ema_updates", "discriminator", "g_optimizer", "d_optimizer", "g_small"),
    *("d_small", "history", "epoch", "step_in_epoch"),
)


def equal(one, other):
    first, second = read_checkpoint(one), read_checkpoint(other)
    return {key: same(first[key], second[key]) for key in STATES}


Stops = stopping(StarGANStep)


def interrupted(data, out, at, *options, runtime=None):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Stops, "at", at)
        patch.setattr(assembly, "StarGANStep", Stops)
        with pytest.raises(Stopped, match="the same command with --resume auto goes on"):
            run(data, out, *options, runtime=runtime)


@pytest.mark.parametrize("options", [(), ("--use_amp", "--amp_dtype", "fp16", "--residual")], ids=["fp32", "fp16"])
def test_one_epoch_and_two_more_are_three(options, data, tmp_path):
    whole = run(data, tmp_path / "whole", "--num_epochs", 3, *options)
    rest = run(data, tmp_path / "rest", "--num_epochs", 3, *options, "--resume", whole / "checkpoint_epoch_1.pth")
    assert all(equal(whole, rest).values())
    assert same(*(torch.load(each / "stargan_G.pth", weights_only=True) for each in (whole, rest)))


@pytest.mark.parametrize("at", [3, 13])
def test_a_signal_amid_an_epoch(at, data, tmp_path):
    whole = run(data, tmp_path / "whole")
    interrupted(data, tmp_path / "parts", at)
    checkpoint = read_checkpoint(tmp_path / "parts" / "run")
    assert (checkpoint.epoch, checkpoint["step_in_epoch"]) in ((0, 4), (1, 5))  # it comes while a step begins
    parts = run(data, tmp_path / "parts", "--resume", "auto")
    assert all(equal(whole, parts).values())


def both_ranks(runtime, data, out):
    run(data, out / "whole", runtime=runtime)
    interrupted(data, out / "parts", 3, runtime=runtime)
    run(data, out / "parts", "--resume", "auto", runtime=runtime)


def test_two_ranks_go_on(data, tmp_path):
    run_ranks(both_ranks, 2, data, tmp_path)
    assert all(equal(tmp_path / "whole" / "run", tmp_path / "parts" / "run").values())


class Corrupts(StarGANStep):
    """Rank 1 comes to have other weights."""

    def __call__(self, *args, **options):
        output = super().__call__(*args, **options)
        if self.runtime.rank == 1:
            with torch.no_grad():
                self.generator.main[0].weight[0, 0, 0, 0] += 1
        return output


def with_another(runtime, data, out):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(assembly, "StarGANStep", Corrupts)
        with pytest.raises(ReplicasDiffer):
            run(data, out, runtime=runtime)


def test_ranks_that_come_to_differ_end(data, tmp_path):
    run_ranks(with_another, 2, data, tmp_path)


def test_a_finished_run_says_so(data, tmp_path, capsys):
    done = run(data, tmp_path, "--num_epochs", 1)
    with pytest.raises(InputError, match="has 1 epochs done, and --num_epochs 1 counts them in: nothing is left"):
        run(data, tmp_path, "--num_epochs", 1, "--resume", done)
    run(data, tmp_path, "--num_epochs", 1, "--resume", "auto")
    assert "nothing is left to do" in capsys.readouterr().out


def test_an_earlier_run_is_set_aside(data, tmp_path):
    first = run(data, tmp_path, "--num_epochs", 1)
    run(data, tmp_path, "--num_epochs", 1, "--seed", 1)
    assert read_checkpoint(tmp_path / "run.old-1").settings["seed"] == 0
    assert read_checkpoint(first).settings["seed"] == 1


def test_what_does_not_fit_is_refused(data, tmp_path):
    done = run(data, tmp_path, "--num_epochs", 1)
    with pytest.raises(InputError, match="of another make; give it back --g_conv_dim 4 no --residual"):
        run(data, tmp_path / "a", "--g_conv_dim", 8, "--residual", "--resume", done)
    with pytest.raises(InputError, match="give it back --selected_attrs Male Young"):
        run(data, tmp_path / "b", "--selected_attrs", "Young", "Male", "--resume", done)
    other = write_celeba(tmp_path / "other", 36)
    with pytest.raises(InputError, match="trained on other data than"):
        run(other, tmp_path / "c", "--resume", done)
    with pytest.raises(InputError, match="is no checkpoint of launch/stargan.py"):
        run(data, tmp_path / "d", "--resume", done / "stargan_G.pth")


def test_what_was_kept_apart_stays_apart(data, tmp_path):
    """Or pictures that were trained on would count as unseen."""
    run(data, tmp_path, "--num_epochs", 1, "--test_size", 4)
    with pytest.raises(InputError, match="kept other pictures apart than would be now"):
        run(data, tmp_path, "--test_size", 12, "--resume", "auto")


def test_a_run_that_was_ended_before_its_last_files_gets_them(data, tmp_path):
    folder = run(data, tmp_path)
    weights = torch.load(folder / "stargan_G.pth", weights_only=True)
    (folder / "stargan_G.pth").unlink()
    run(data, tmp_path, "--resume", "auto")
    assert same(torch.load(folder / "stargan_G.pth", weights_only=True), weights)
    assert read_checkpoint(folder).epoch == 2


def test_a_damaged_checkpoint_leaves_the_one_before(data, tmp_path):
    whole = run(data, tmp_path / "whole")
    folder = run(data, tmp_path / "parts", "--num_epochs", 1)
    (folder / "last.pth").write_bytes((folder / "last.pth").read_bytes()[:2000])
    parts = run(data, tmp_path / "parts", "--resume", "auto")
    assert all(equal(whole, parts).values())


def test_betas_are_the_command_lines(data, tmp_path):
    done = run(data, tmp_path, "--num_epochs", 1, "--beta1", 0.5)
    other = run(data, tmp_path / "b", "--resume", done, "--beta1", 0.1)
    assert read_checkpoint(other)["g_optimizer"]["param_groups"][0]["betas"][0] == 0.1


def test_amid_an_epoch_the_steps_must_be_the_same(data, tmp_path):
    interrupted(data, tmp_path, 3)
    with pytest.raises(InputError, match="amid an epoch of --batch_size 4 on 1 rank"):
        run(data, tmp_path, "--resume", "auto", "--batch_size", 2)


def test_a_full_disk_costs_checkpoints_and_not_the_run(data, tmp_path, monkeypatch):
    kept = loop.save_checkpoint

    def full_at_first(path, state, **options):
        if state.epoch == 1:
            raise OSError(28, "No space left on device")
        kept(path, state, **options)

    monkeypatch.setattr(loop, "save_checkpoint", full_at_first)
    folder = run(data, tmp_path)
    assert "not written: [Errno 28]" in (folder / "training.log").read_text()
    assert read_checkpoint(folder).epoch == 2
    assert not (folder / "checkpoint_epoch_1.pth").exists()
