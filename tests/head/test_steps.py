"""Steps of the head in order: far centres, accumulation's limits, bad centres, nothing that waits for the device."""

import copy

import pytest
import torch

from recognition.benchmarks.counting import Counts
from recognition.errors import InputError
from recognition.head import CombinedMarginLoss, PartialFC
from recognition.head.losses import AdaFace, CurricularFace, MagFace, SubcenterArcFace, UniFace
from recognition.head.rows import RowAdamW, RowSGD
from recognition.runtime import Runtime
from tests.ranks import run_ranks

C, D, B = 60, 8, 5
ALONE = Runtime()
ARCFACE = CombinedMarginLoss(16.0, 1.0, 0.5, 0.0)


OBJECTIVES = {
    "combined": ARCFACE,
    "filter": CombinedMarginLoss(64, 1.0, 0.0, 0.4, 0.4),
    "adaface": AdaFace(16.0),
    "magface": MagFace(16.0),
    "curricularface": CurricularFace(16.0),
    "subcenters": SubcenterArcFace(16.0),
    "uniface": UniFace(16.0, num_classes=C),
}


def make_head(runtime=ALONE, objective=ARCFACE, rate=0.3, **options):
    return PartialFC(objective, D, C, rate, runtime=runtime, seed=7, **options)


def batch(number, rank=0):
    generator = torch.Generator().manual_seed(100 * number + rank)
    return torch.randn(B, D, generator=generator), torch.randint(0, C, (B,), generator=generator)


def take_steps(runtime, place, optimizer, batches):
    head = make_head(runtime, centers=place, optimizer=optimizer)
    losses = []
    for step in range(6):
        head.prepare(step, batch_size=B, batches=batches)
        for part in range(batches):
            losses.append(head(*batch(step * batches + part, runtime.rank), step).loss)
        head.update(0.1)
    head.check()
    return torch.stack(losses), head.weight.clone()


@pytest.mark.parametrize("world", [1, 2])
@pytest.mark.parametrize("optimizer", [RowSGD(), RowSGD(lazy="skip"), RowAdamW()], ids=["exact", "skip", "adamw"])
@pytest.mark.parametrize("batches", [1, 2])
def test_centres_in_a_file_train_like_those_in_memory(world, optimizer, batches, tmp_path):
    results = [run_ranks(take_steps, world, place, optimizer, batches) for place in ("memory", f"mmap:{tmp_path}/set")]
    for (losses, centers), (file_losses, file_centers) in zip(*results):
        assert torch.equal(file_losses, losses)
        assert torch.equal(file_centers, centers)
    files = sorted(path.name for path in (tmp_path / "set").iterdir())
    assert files == [f"{rank}-of-{world}.centers" for rank in range(world)]


def test_all_classes_in_a_file_train_like_those_in_memory(tmp_path):
    found = []
    for place in ("memory", f"mmap:{tmp_path}/set"):
        head = make_head(rate=1.0, centers=place)
        for step in range(3):
            head(*batch(step), step)
            head.update(0.1)
        found.append(head.weight.clone())
    assert torch.equal(*found)


def test_an_error_while_rows_travel_reaches_the_step(tmp_path, monkeypatch):
    head = make_head(centers=f"mmap:{tmp_path}/set")

    def broken(*_):
        raise OSError("the disk is gone")

    monkeypatch.setattr(head.centers, "bring_in", broken)
    with pytest.raises(OSError, match="the disk is gone"):
        head(*batch(0), 0)


def test_steps_out_of_order_are_refused():
    head = make_head()
    with pytest.raises(RuntimeError, match="nothing to update"):
        head.update(0.1)
    head.prepare(0, batch_size=B)
    with pytest.raises(RuntimeError, match="under way"):
        head.prepare(1, batch_size=B)
    head(*batch(0), 0)
    with pytest.raises(RuntimeError, match="more batches"):
        head(*batch(1), 0)


def nan_in_the_last_shard(runtime, name):
    """Two steps: what a first one leaves in running statistics and parameters is in the second."""
    head = make_head(runtime, OBJECTIVES[name], rate=1.0)
    if runtime.rank == runtime.world - 1:
        head.weight[3, 2] = torch.nan
    before = head.weight.clone()
    emb_BD, labels_B = batch(0, runtime.rank)
    labels_B[0] = head.num_classes - head.num_classes // runtime.world + 3
    emb_BD.requires_grad_()
    for step in range(2):
        emb_BD.grad = None
        head(emb_BD, labels_B, step).loss.backward()
        head.update(0.1)
        for parameter in head.parameters():
            parameter.data -= 0.1 * parameter.grad
            assert torch.isfinite(parameter)
    if name == "magface":
        emb_BD.grad -= regulariser_gradient(head.objective, emb_BD)
    after = head.weight.clone()
    try:
        head.check()
    except InputError as error:
        return str(error), emb_BD.grad, torch.isfinite(before), torch.isfinite(after)


def regulariser_gradient(objective, emb_BD):
    """Of the part of the loss that depends on norms alone."""
    emb_BD = emb_BD.detach().clone().requires_grad_()
    objective.regulariser(emb_BD.norm(dim=1)).backward()
    return emb_BD.grad


@pytest.mark.parametrize("world", [1, 3])
@pytest.mark.parametrize("name", ["combined", "adaface", "magface", "curricularface", "uniface"])
def test_a_centre_that_is_not_a_number_spoils_nothing_else_and_is_named(name, world):
    results = run_ranks(nan_in_the_last_shard, world, name)
    bad = C - C // world + 3
    for rank, (message, grad_BD, before, after) in enumerate(results):
        assert grad_BD.abs().max() < 1e-7
        if rank < world - 1:
            assert after.all()
            assert "see the message of the rank whose centre is not" in message
        else:
            assert torch.equal(before.all(1), after.all(1))
            assert message.startswith(f"the centre of class {bad} is not finite")


@pytest.mark.parametrize("rate", [1.0, 0.3])
@pytest.mark.parametrize("name", OBJECTIVES)
def test_a_step_never_waits_for_the_device(name, rate):
    for optimizer in (RowSGD(), RowAdamW()):
        head = make_head(objective=OBJECTIVES[name], rate=rate, optimizer=optimizer)
        emb_BD, labels_B = batch(0)
        emb_BD.requires_grad_()
        with Counts() as counts:
            for step in range(2):
                head.prepare(step, batch_size=B)
                head(emb_BD, labels_B, step).loss.backward()
                head.update(0.1)
        assert counts.host_reads == {}
    with Counts() as counts:
        head.check()
    assert counts.host_reads


@pytest.mark.parametrize("name", ["combined", "filter", "subcenters", "uniface"])
@pytest.mark.parametrize("kind", ["label", "embedding"])
def test_a_bad_sample_has_no_part_in_any_update(name, kind):
    found = []
    for is_bad in (False, True):
        objective, plain = copy.deepcopy(OBJECTIVES[name]), RowSGD(momentum=0.0, weight_decay=0.0)
        head = make_head(objective=objective, rate=1.0, optimizer=plain, mode="recompute")
        emb_BD, labels_B = batch(0)
        if is_bad:
            labels_B[4], emb_BD[4, 1] = (C + 3, 0) if kind == "label" else (labels_B[4], torch.inf)
        else:
            emb_BD, labels_B = emb_BD[:4], labels_B[:4]
        emb_BD.requires_grad_()
        before = head.weight.clone()
        head(emb_BD, labels_B, 0).loss.backward()
        head.update(1.0)
        found.append([before - head.weight, emb_BD.grad[:4], *(p.grad for p in objective.parameters())])
        if is_bad:
            with pytest.raises(InputError, match="rank 0, sample 4"):
                head.check()
            assert kind == "embedding" or (emb_BD.grad[4] == 0).all()
    for good, with_bad in zip(*found):
        # A mean over five samples, one of which adds nothing.
        torch.testing.assert_close(with_bad, good * 4 / 5, rtol=1e-5, atol=1e-6)
