"""What else a resume finds again or refuses: other data, the window of losses, rows of bad steps, centres in blocks."""

import math
from statistics import median

import pytest
import torch

from recognition.checkpoint.folder import listed
from recognition.checkpoint.layout import STATE
from recognition.checkpoint.opening import open_checkpoint
from recognition.errors import InputError
from recognition.head import missed, stored
from recognition.runtime import Runtime
from recognition.training import assembly
from recognition.training.loop import train
from recognition.training.metrics import read_rows
from recognition.training.state import restore
from tests.pictures import write_people
from tests.ranks import run_ranks
from tests.training.small_runs import digests, small, unreported


def run(runtime, folder, *overrides):
    options = ("num_image=400", "num_classes=21", "checkpoint_steps=0", "checkpoint_keep=99")
    with unreported():
        return train(small(folder, *options, *overrides), runtime)


def checkpoint_of(folder, step):
    return open_checkpoint(folder / "run" / "checkpoints" / f"step-{step:08d}")


def on_pictures(folder, data, *overrides):
    """A run on a folder of pictures, whose numbers of classes and images are those of the data."""
    options = (f"rec={data}", "num_classes=None", "num_image=None", "num_epoch=9")
    return run(Runtime(), folder, *options, *overrides)


def test_other_data_of_the_same_size_are_refused_before_anything_is_written(tmp_path):
    mine = write_people(tmp_path / "mine", {"ann": 6, "bob": 6, "cid": 6}, size=32)
    other = write_people(tmp_path / "other", {"ann": 6, "bob": 7, "cid": 5}, size=32)
    same = write_people(tmp_path / "same", {"ann": 6, "bob": 6, "cid": 6}, size=32)
    on_pictures(tmp_path, mine, "max_steps=3")
    (tmp_path / "run" / "status.json").unlink()
    before = {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()}
    with pytest.raises(InputError, match=r"rec=.*other \(the checkpoint has seen other data\)"):
        on_pictures(tmp_path, other, "max_steps=5")
    assert {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()} == before
    # Where they lie does not matter.
    on_pictures(tmp_path, same, "max_steps=5")
    assert [row["step"] for row in read_rows(tmp_path / "run", "train")] == [1, 2, 3, 4, 5]


class LossLeaps(assembly.TrainStep):
    """The loss of step 23 is ten times what it is."""

    def __call__(self, batches, *, step, **options):
        output = super().__call__(batches, step=step, **options)
        return type(output)(output.loss * 10, *list(vars(output).values())[1:]) if step == 22 else output


def test_a_loss_that_leaps_is_measured_by_losses_from_before_the_resume(tmp_path, monkeypatch):
    run(Runtime(), tmp_path, "max_steps=21")
    losses = [row["loss"] for row in read_rows(tmp_path / "run", "train")]
    assert checkpoint_of(tmp_path, 21).document(STATE)["losses"] == losses
    # On its own, the second part has seen one loss, which is too few to tell.
    monkeypatch.setattr(assembly, "TrainStep", LossLeaps)
    run(Runtime(), tmp_path, "max_steps=24")
    losses = [row["loss"] for row in read_rows(tmp_path / "run", "train")]
    (row,) = read_rows(tmp_path / "run", "spike")
    assert row["step"] == 23
    assert row["median"] == median(losses[:22])
    assert checkpoint_of(tmp_path, 24).document(STATE)["losses"] == losses


def run_with_bad_steps(runtime, folder, bad_steps, *overrides):
    """A run whose gradient is not finite in `bad_steps`, on the last rank; the message if that ends it."""

    class Bad(assembly.TrainStep):
        def _clip(self):
            is_bad = self.now in bad_steps and runtime.rank == runtime.world - 1
            return super()._clip() * (math.nan if is_bad else 1.0)

        def __call__(self, batches, *, step, **options):
            self.now = step + 1
            return super().__call__(batches, step=step, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(assembly, "TrainStep", Bad)
        try:
            run(runtime, folder, *overrides)
        except InputError as error:
            return str(error)


@pytest.mark.parametrize("world", [1, 2])
def test_a_row_of_bad_steps_is_counted_on_over_a_resume(tmp_path, world):
    assert run_ranks(run_with_bad_steps, world, tmp_path, {3, 4}, "max_steps=4") == [None] * world
    found = run_ranks(run_with_bad_steps, world, tmp_path, {5}, "max_steps=9")
    assert all(message.startswith("3 steps in a row up to step 5 were not finite") for message in found)
    assert [entry.step for entry in listed(tmp_path / "run" / "checkpoints")] == [4]


def test_a_good_step_before_the_resume_ends_the_row(tmp_path):
    run_with_bad_steps(Runtime(), tmp_path, {2, 3}, "max_steps=4")
    assert run_with_bad_steps(Runtime(), tmp_path, {5, 6}, "max_steps=9") is None
    assert [entry.step for entry in listed(tmp_path / "run" / "checkpoints")] == [4, 9]


def centres_now(runtime, folder, step, block_classes, *overrides):
    """Rows of this rank as they were stored, clocks, and what becomes of the rows when they are brought up to date."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stored, "_BLOCK_CLASSES", block_classes)
        take_step = assembly.build_step(small(folder, "num_image=400", "num_classes=21", *overrides), runtime)
        restore(take_step, open_checkpoint(folder / "run" / "checkpoints" / f"step-{step:08d}", runtime))
    centers = take_step.head.centers
    found = [centers.table_KCPD[: centers.num_local].clone(), centers.clock_K[: centers.num_local].clone()]
    take_step.head.flush()
    return [*found, centers.table_KCPD[: centers.num_local].clone()]


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize("world", [1, 2, 3])
def test_centres_in_many_small_blocks_are_those_in_one(tmp_path, world, optimizer):
    overrides = ("sample_rate=0.3", f"optimizer={optimizer}", "lr=0.01")
    run_ranks(run, 2, tmp_path, "max_steps=6", *overrides)
    whole, blocks = (
        [torch.cat(parts) for parts in zip(*run_ranks(centres_now, world, tmp_path, 6, size, *overrides))]
        for size in (1 << 14, 3)
    )
    files = [checkpoint_of(tmp_path, 6).tensor_file(f"rank-{r:05d}-of-00002.safetensors") for r in (0, 1)]
    assert torch.equal(blocks[0], torch.cat([file.get("head.table") for file in files]))
    assert len(set(blocks[1].tolist())) > 2
    for found, expected in zip(blocks, whole):
        assert torch.equal(found, expected)


@pytest.mark.parametrize("world", [1, 2])
def test_missed_steps_go_on_past_the_end_of_a_chunk(tmp_path, monkeypatch, world):
    """Parts that end within a chunk, at its end, and two chunks later; what the chunks are changes rounding alone."""
    options = ("num_classes=80", "batch_size=4", "sample_rate=0.05", "max_steps=14")
    run_ranks(run, world, tmp_path / "one chunk", *options)
    monkeypatch.setattr(missed, "CHUNK_STEPS", 4)
    run_ranks(run, world, tmp_path / "whole", *options)
    for steps in (3, 4, 6, 13, 14):
        run_ranks(run, world, tmp_path / "parts", *options, f"max_steps={steps}")
    assert digests(tmp_path / "parts" / "run", 14) == digests(tmp_path / "whole" / "run", 14)
    found = [torch.cat(parts) for parts in zip(*run_ranks(centres_now, world, tmp_path / "parts", 14, 3, *options))]
    monkeypatch.undo()
    expected = [
        torch.cat(parts) for parts in zip(*run_ranks(centres_now, world, tmp_path / "one chunk", 14, 99, *options))
    ]
    # Some rows have missed the steps of more than two chunks.
    assert found[1].min() < 14 - 2 * 4
    assert torch.equal(found[1], expected[1])
    assert (found[2] - expected[2]).abs().max() <= 1e-5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("num_classes=22", r"step-00000003 has 21 class centres, the run 22"),
        ("embedding_size=16", r"replicated\.safetensors: '.+' has shape \(.*32.*\), the run needs \(.*16.*\)"),
        ("network=mbf_tiny", r"replicated\.safetensors lacks 'backbone\..+', which this run needs"),
    ],
)
def test_a_checkpoint_that_does_not_fit_is_refused_by_what_does_not(tmp_path, change, message):
    run(Runtime(), tmp_path, "max_steps=3")
    take_step = assembly.build_step(small(tmp_path, "num_image=400", "num_classes=21", change), Runtime())
    with pytest.raises(InputError, match=message):
        restore(take_step, checkpoint_of(tmp_path, 3))


@pytest.mark.parametrize("change", ["num_classes=22", "embedding_size=16"])
def test_so_is_a_run_that_would_need_another_one(tmp_path, change):
    run(Runtime(), tmp_path, "max_steps=3")
    (tmp_path / "run" / "status.json").unlink()
    key, _, value = change.partition("=")
    with pytest.raises(InputError, match=rf"{key}={value} \(the checkpoint has"):
        run(Runtime(), tmp_path, change, "max_steps=5")
    assert [row["step"] for row in read_rows(tmp_path / "run", "train")] == [1, 2, 3]
