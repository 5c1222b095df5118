"""Steps that are not finite: skipped by all ranks together, counted, and the end of the run when they go on."""

import math

import pytest
import torch
from safetensors.torch import load_file

from recognition.benchmarks.counting import Counts
from recognition.benchmarks.step import AsOnDevice
from recognition.checkpoint.folder import listed
from recognition.data.augment import KINDS as AUGMENTATIONS
from recognition.errors import InputError
from recognition.runtime import Runtime
from recognition.training import assembly
from recognition.training.loop import train
from recognition.training.state import rank_tensors, replicated_tensors
from tests.ranks import run_ranks
from tests.training.linear_backbone import batch
from tests.training.small_runs import small
from tests.training.test_step import make_step

KINDS = ["loss", "embedding", "gradient", "centre"]


def snapshot(take_step):
    """Every tensor that a step may change, but for the vote's own counters and random state."""
    tensors = replicated_tensors(take_step) | rank_tensors(take_step)
    return {
        name: tensor.clone()
        for name, tensor in tensors.items()
        if not name.startswith(("vote.", "random", "loss_scale."))
    }


def changed(before, after):
    """Names of the tensors that are not the same bits; a NaN is itself."""
    return [name for name in before if before[name].numpy().tobytes() != after[name].numpy().tobytes()]


def inject(take_step, kind, patch):
    """Let the next step meet something that is not finite."""
    head = take_step.head
    if kind == "loss":
        forward = head.forward

        def broken(*args):
            output = forward(*args)
            return output._replace(loss=output.loss * math.nan)

        patch.setattr(head, "forward", broken)
    elif kind == "embedding":
        embed = take_step.embed
        patch.setattr(take_step, "embed", lambda batch: embed(batch) * torch.tensor([[math.inf]]))
    elif kind == "gradient":
        weight = take_step.backbone[1].weight
        weight.register_hook(lambda grad: grad.index_fill(0, torch.tensor([0]), math.nan))
    elif kind == "centre":
        # All of the shard: which classes a step samples is another matter.
        head.weight[:, 0] = math.nan


def with_norm():
    """A backbone whose BatchNorm would take a bad batch into its statistics."""
    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Flatten(), torch.nn.Linear(192, 16), torch.nn.BatchNorm1d(16), torch.nn.Linear(16, 16)
    )


def one_bad_step(runtime, kind, victim, on_device, options):
    """Names of what a bad step changed on this rank; whether good steps before and after it moved the weights."""
    take_step = make_step(runtime, with_norm(), **options)
    if on_device:
        take_step.reads_at_once = False
    mine = slice(4 * runtime.rank, 4 * runtime.rank + 4)
    batches = [batch(mine.start, mine.stop)]
    take_step(batches, step=0, lr=0.1)
    first = snapshot(take_step)
    with pytest.MonkeyPatch.context() as patch:
        if runtime.rank == victim:
            inject(take_step, kind, patch)
        before = snapshot(take_step)
        take_step(batches, step=1, lr=0.1)
        agreed = take_step.agreed(1)
    after = snapshot(take_step)
    row = take_step.vote.in_a_row.item()
    moved = []
    if kind in ("loss", "embedding"):  # those that are over once the patch is
        take_step(batches, step=2, lr=0.1)
        moved = changed(after, snapshot(take_step))
        row = take_step.vote.in_a_row.item()
    return agreed.is_skipped, changed(before, after), moved, row, first["backbone.1.weight"]


OPTIONS = {
    "sgd": {},
    # Without decay, so that bringing a row up to date, which is no change of its value, keeps its bits as well.
    "sampled": {"sample_rate": 0.5, "weight_decay": 0.0},
    "adamw": {"optimizer": "adamw"},
    "sampled adamw": {"optimizer": "adamw", "sample_rate": 0.5},
    "average": {"ema_decay": 0.9},
}


@pytest.mark.parametrize("on_device", [False, True], ids=["branch", "flag"])
@pytest.mark.parametrize("name", OPTIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_bad_step_of_one_rank_changes_nothing_on_any(kind, name, on_device):
    world = 2
    results = run_ranks(one_bad_step, world, kind, world - 1, on_device, OPTIONS[name])
    for rank, (is_skipped, touched, moved, row, weight) in enumerate(results):
        assert is_skipped
        # Where nothing waits for the device, a skipped step is counted as a step, and as one that was skipped.
        ignored = {"head.skipped", "head.missed.within", "head.missed.after"} if on_device else set()
        if on_device and "adamw" not in name:
            ignored.add("head.clock")
        if kind == "centre" and rank == world - 1:
            ignored.add("head.table")  # its centres are no numbers: bringing them up to date makes their momenta none
        assert [key for key in touched if key not in ignored] == []
        if kind in ("loss", "embedding"):
            assert any(key.startswith("backbone.1.weight") for key in moved)
            assert row == 0
        else:
            assert row == 1
        assert torch.equal(weight, results[0][4])


def overflow(runtime, bad_rank):
    """fp16 whose scaled gradient overflows in the shard of one rank: scales and weights afterwards."""
    take_step = make_step(runtime, precision="fp16", fp16=True)
    mine = 4 * runtime.rank
    before = snapshot(take_step)
    with pytest.MonkeyPatch.context() as patch:
        if runtime.rank == bad_rank:
            # After DDP's sum, as a fault of this rank's memory would.
            clip = take_step._clip
            patch.setattr(take_step, "_clip", lambda: clip() * math.inf)
        take_step([batch(mine, mine + 4)], step=0, lr=0.1)
    return changed(before, snapshot(take_step)), take_step.loss_scale.scale.item()


@pytest.mark.parametrize("bad_rank", [0, 2])
def test_an_overflow_on_one_rank_leaves_all_ranks_with_the_same_scale_and_weights(bad_rank):
    results = run_ranks(overflow, 3, bad_rank)
    assert results == [([], 2.0**15)] * 3


def test_a_row_of_bad_steps_ends_the_run_with_its_cause():
    take_step = make_step(Runtime(), max_bad_steps=3)
    take_step.head.weight[2, 1] = math.nan
    for step in range(2):
        take_step([batch(0, 8)], step=step, lr=0.1)
        take_step.agreed(step)
    take_step([batch(0, 8)], step=2, lr=0.1)
    with pytest.raises(InputError, match=r"3 steps in a row up to step 3.*centre of class 2 is not finite"):
        take_step.agreed(2)


def test_a_good_step_between_starts_the_count_again():
    take_step = make_step(Runtime(), max_bad_steps=2)
    hook = None
    for step, is_bad in enumerate([True, False, True, False, True]):
        if is_bad:
            hook = take_step.backbone[1].weight.register_hook(lambda grad: grad * math.inf)
        take_step([batch(0, 8)], step=step, lr=0.01)
        assert take_step.agreed(step).is_skipped == is_bad
        if is_bad:
            hook.remove()
    take_step.backbone[1].weight.register_hook(lambda grad: grad * math.inf)
    take_step([batch(0, 8)], step=5, lr=0.01)
    with pytest.raises(InputError, match=r"2 steps in a row.*gradient of the backbone.*lower lr \(0.1\)"):
        take_step.agreed(5)


def test_where_nothing_waits_a_row_that_is_over_when_it_is_looked_for_still_counts():
    take_step = make_step(Runtime(), max_bad_steps=2)
    take_step.reads_at_once = False
    hook = take_step.backbone[1].weight.register_hook(lambda grad: grad * math.nan)
    for step in range(4):
        if step == 2:
            hook.remove()
        take_step([batch(0, 8)], step=step, lr=0.01)
    with pytest.raises(InputError, match="2 steps in a row"):
        take_step.agreed(3)


def test_a_label_out_of_range_ends_the_run_at_once():
    take_step = make_step(Runtime())
    bad = batch(0, 8)
    bad.labels_B[3] = 7
    with pytest.raises(InputError, match=r"sample 3 .*label 7: labels must lie in \[0, 7\)"):
        take_step([bad], step=0, lr=0.1)


def test_a_good_step_forgets_a_bad_one_but_not_a_bad_label():
    take_step = make_step(Runtime())
    take_step.reads_at_once = False
    bad = batch(0, 8)
    bad.labels_B[3] = 7
    take_step([bad], step=0, lr=0.1)
    take_step([batch(8, 16)], step=1, lr=0.1)
    with pytest.raises(InputError, match="labels must lie"):
        take_step.agreed(1)


def test_fp16_may_look_for_its_scale_for_longer_than_bad_steps_may_last():
    take_step = make_step(Runtime(), precision="fp16", fp16=True, max_bad_steps=2)
    take_step.backbone[1].weight.register_hook(lambda grad: grad * math.inf)
    for step in range(16):
        take_step([batch(0, 8)], step=step, lr=0.01)
        assert take_step.agreed(step).is_skipped
    assert take_step.loss_scale.scale.item() == 1.0
    for step in (16, 17):
        take_step([batch(0, 8)], step=step, lr=0.01)
    with pytest.raises(InputError, match="2 steps in a row"):
        take_step.agreed(17)


def test_the_scale_doubles_after_a_hundred_good_steps_and_halves_at_an_overflow():
    take_step = make_step(Runtime(), precision="fp16", fp16=True)
    scale = take_step.loss_scale
    found = []
    for step in range(205):
        scale.update(torch.tensor(float(step == 150)))
        found.append(scale.scale.item())
    assert found[98:101] == [2.0**16, 2.0**17, 2.0**17]
    assert found[149:152] == [2.0**17, 2.0**16, 2.0**16]
    assert found[-1] == 2.0**16


def diverging(runtime, folder):
    """A run whose gradient turns NaN for good at its sixth step, on the last rank."""

    class Diverging(assembly.TrainStep):
        def _clip(self):
            norm = super()._clip()
            return norm * math.nan if self.seen >= 5 and runtime.rank == runtime.world - 1 else norm

        def __call__(self, batches, *, step, **options):
            self.seen = step
            return super().__call__(batches, step=step, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(assembly, "TrainStep", Diverging)
        try:
            train(small(folder, "max_steps=20", "checkpoint_steps=2", "checkpoint_keep=9"), runtime)
        except InputError as error:
            return str(error)


@pytest.mark.parametrize("world", [1, 2])
def test_a_run_that_diverges_ends_and_keeps_its_last_good_checkpoints(tmp_path, world):
    messages = run_ranks(diverging, world, tmp_path)
    assert all(message.startswith("3 steps in a row up to step 8 were not finite") for message in messages)
    folder = tmp_path / "run" / "checkpoints"
    assert [entry.step for entry in listed(folder)] == [2, 4, 6]
    for file in folder.rglob("*.safetensors"):
        assert all(torch.isfinite(t).all() for t in load_file(file).values() if t.is_floating_point()), file


def test_weights_that_are_not_finite_are_not_stored(tmp_path):
    """A finite gradient can still make a weight overflow: nobody wants to go back to that."""
    cfg = small(tmp_path, "max_steps=3", "checkpoint_steps=1", "lr=1e38", "max_grad_norm=0", "num_image=400")

    train_or_end(cfg)
    folder = tmp_path / "run" / "checkpoints"
    log = (tmp_path / "run" / "training.log").read_text()
    assert "is not finite at step" in log
    for file in folder.rglob("*.safetensors"):
        assert all(torch.isfinite(t).all() for t in load_file(file).values() if t.is_floating_point()), file


def train_or_end(cfg):
    try:
        train(cfg, Runtime())
    except InputError:
        return


def test_the_vote_is_one_collective_and_a_step_reads_nothing_where_nothing_may_wait():
    counted = run_ranks(count_step, 2)
    # DDP's, of a backbone that fits into one bucket, and the vote.
    assert counted == [(2, {})] * 2


def count_step(runtime):
    take_step = make_step(runtime, augment=tuple(f"{name}:0.5" for name in AUGMENTATIONS))
    take_step.__class__ = AsOnDevice
    take_step.reads_at_once = False
    mine = batch(4 * runtime.rank, 4 * runtime.rank + 4)
    take_step([mine], step=0, lr=0.1)
    on_host = [mine.images_BHWC, mine.labels_B, mine.ids_B, mine.epochs_B]
    with Counts(host=on_host) as counts:
        take_step([mine], step=1, lr=0.1)
    return counts.collectives["allreduce"], dict(counts.host_reads)


def test_accumulated_batches_are_skipped_together():
    take_step = make_step(Runtime(), with_norm(), gradient_acc=2)
    take_step([batch(0, 4), batch(4, 8)], step=0, lr=0.1)
    before = snapshot(take_step)
    weight = take_step.backbone[3].weight
    factors = iter([math.nan, 1.0])
    weight.register_hook(lambda grad: grad * next(factors))
    take_step([batch(0, 4), batch(4, 8)], step=1, lr=0.1)
    assert next(factors, None) is None
    assert changed(before, snapshot(take_step)) == []
