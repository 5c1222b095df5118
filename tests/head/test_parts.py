"""What the head is told reaches its parts: blocks, counts, limits, threads, precision, pages."""

import threading

import pytest
import torch
from torch import nn

from recognition.benchmarks.memory import resident_bytes
from recognition.errors import InputError
from recognition.head import CombinedMarginLoss, PartialFC, centers, partial_fc, sweep
from recognition.head.mapped import MappedTable
from recognition.head.reference import reference_loss
from recognition.head.rows import RowAdamW, RowSGD
from recognition.runtime import Runtime
from tests.head.test_steps import B, C, batch, make_head


@pytest.mark.parametrize("rate", [1.0, 0.99])
def test_adamw_on_every_class_is_torchs(rate, monkeypatch):
    """At 0.99 of 60 classes all are touched in every step: the draw misses one, and the batch holds all labels."""
    monkeypatch.setattr(sweep, "BLOCK_CLASSES", 16)
    generator = torch.Generator().manual_seed(3)
    head = PartialFC(
        CombinedMarginLoss(16.0, 1.0, 0.5, 0.0),
        8,
        60,
        rate,
        runtime=Runtime(),
        optimizer=RowAdamW(weight_decay=0.1),
        mode="recompute",
        dtype=torch.float64,
    )
    weight = nn.Parameter(head.weight.clone())
    dense = torch.optim.AdamW([weight], lr=0.01, weight_decay=0.1)
    for step in range(4):
        emb_BD, labels_B = torch.randn(60, 8, dtype=torch.float64, generator=generator), torch.arange(60)
        head(emb_BD, labels_B, step)
        head.update(0.01)
        dense.zero_grad()
        reference_loss(emb_BD, weight, labels_B, s=16.0, m1=1.0, m2=0.5, m3=0.0)[0].backward()
        dense.step()
    torch.testing.assert_close(head.weight, weight.detach(), rtol=1e-9, atol=1e-12)


def five_steps(place, optimizer, mode="recompute"):
    head = PartialFC(
        CombinedMarginLoss(16.0, 1.0, 0.5, 0.0),
        8,
        60,
        0.4,
        runtime=Runtime(),
        seed=7,
        optimizer=optimizer,
        centers=place,
        mode=mode,
        dtype=torch.float64,
    )
    for step in range(5):
        generator = torch.Generator().manual_seed(step)
        emb_BD = torch.randn(9, 8, dtype=torch.float64, generator=generator)
        head(emb_BD, torch.randint(60, (9,), generator=generator), step)
        head.update(0.1)
    return head.weight.clone()


@pytest.mark.parametrize("optimizer", [RowSGD(), RowAdamW()])
@pytest.mark.parametrize("mode", ["keep", "recompute"])
def test_blocks_do_not_show(tmp_path, monkeypatch, optimizer, mode):
    """33 active classes in blocks of 4, 60 rows in blocks of 5, against one block of each."""
    whole = five_steps("memory", optimizer, mode)
    monkeypatch.setattr(sweep, "BLOCK_CLASSES", 4)
    monkeypatch.setattr(centers, "_BLOCK_CLASSES", 5)
    for place in ("memory", f"mmap:{tmp_path}/set"):
        torch.testing.assert_close(five_steps(place, optimizer, mode), whole, rtol=1e-10, atol=1e-13)


def test_an_embedding_whose_norm_overflows_is_a_bad_sample():
    head = PartialFC(CombinedMarginLoss(16.0, 1.0, 0.5, 0.0), 8, 60, runtime=Runtime())
    emb_BD = torch.randn(4, 8)
    emb_BD[2] = 1e30
    emb_BD.requires_grad_()
    loss = head(emb_BD, torch.arange(4), 0).loss
    assert loss.isnan()
    with pytest.raises(InputError, match=r"sample 2 .*not finite"):
        head.check()


def test_the_process_lets_go_of_pages_that_it_has_used(tmp_path, monkeypatch):
    monkeypatch.setattr("recognition.head.mapped.RESIDENT_BYTES", 1 << 20)
    table = MappedTable(tmp_path, "0-of-1", (50_000_000,), torch.float32)
    before = resident_bytes()
    table.tensor[:25_000_000] = 1
    assert resident_bytes() > before + 80e6
    table.touched(100_000_000)
    assert resident_bytes() < before + 20e6
    assert table.tensor[24_999_999] == 1


@pytest.mark.parametrize("mode", ["keep", "recompute"])
def test_bf16_operands_round_every_product_of_both_sweeps_and_no_more(mode, monkeypatch):
    emb_BD, labels_B = batch(0)
    moved, grads, factors = {}, {}, []
    product = sweep.matmul
    for operands in ("fp32", "bf16"):
        head = make_head(rate=1.0, operands=operands, mode=mode, optimizer=RowSGD(0.0, 0.0))
        if operands == "bf16":
            monkeypatch.setattr(sweep, "matmul", lambda *a, **k: (factors.append(a[0].dtype), product(*a, **k))[1])
        before, x_BD = head.weight.clone(), emb_BD.clone().requires_grad_()
        head(x_BD, labels_B, 0).loss.backward()
        in_forward = len(factors)
        head.update(1.0)
        moved[operands], grads[operands] = head.weight - before, x_BD.grad
    assert set(factors) == {torch.bfloat16}
    assert 0 < in_forward < len(factors)
    for found in (moved, grads):
        error = (found["bf16"] - found["fp32"]).norm() / found["fp32"].norm()
        assert 1e-5 < error < 2e-2


def test_auto_keeps_up_to_the_limit_and_not_beyond(monkeypatch):
    for batches in (1, 2):
        for spare, keeps in ((0, True), (-1, False)):
            monkeypatch.setitem(partial_fc.KEPT_BYTES, "cpu", 2 * batches * B * C + spare)
            head = make_head(rate=1.0)
            head.prepare(0, batch_size=B, batches=batches)
            head(*batch(0), 0)
            assert (head._parts[0].kept is not None) is keeps


def test_far_rows_travel_in_another_thread(tmp_path, monkeypatch):
    head, threads = make_head(centers=f"mmap:{tmp_path}/set"), []
    bring_in = head.centers.bring_in
    monkeypatch.setattr(head.centers, "bring_in", lambda *a: (threads.append(threading.current_thread()), bring_in(*a)))
    head.prepare(0, batch_size=B)
    head.active.wait()
    assert threads
    assert threading.main_thread() not in threads


def test_empty_slots_of_the_tail_hold_zeros():
    head = make_head()
    shape = (head.active.num_drawn + 2 * B, *head.centers.table_KCPD.shape[1:])
    head.active._room.of("rows", shape).fill_(torch.nan)
    head.prepare(0, batch_size=B, batches=2)
    emb_BD, labels_B = batch(0)
    emb_BD.requires_grad_()
    head(emb_BD, labels_B, 0).loss.backward()
    assert torch.isfinite(emb_BD.grad).all()


def test_a_table_in_a_file_is_told_what_was_touched(tmp_path, monkeypatch):
    head, touched = make_head(centers=f"mmap:{tmp_path}/set"), []
    monkeypatch.setattr(head.centers.file, "touched", touched.append)
    head(*batch(0), 0)
    head.update(0.1)
    head.active.wait()
    assert sum(touched) == (head.active.num_drawn + B) * 2 * 8 * 4
