"""Row optimizers and the maps of missed steps against torch's dense optimizers, step by step."""

import errno
import math

import pytest
import torch
from torch import nn

from recognition.errors import InputError
from recognition.head import missed
from recognition.head.centers import Centers
from recognition.head.missed import MissedSteps
from recognition.head.rows import RowAdamW, RowSGD

CPU = torch.device("cpu")
K, D = 23, 5


def schedule(step):
    return 0.3 * math.cos(step / 29) ** 2 + 0.001 * (step % 7)


@pytest.fixture(params=[3, 512])
def chunk_steps(request, monkeypatch):
    monkeypatch.setattr(missed, "CHUNK_STEPS", request.param)


def test_products_are_the_maps_multiplied_one_by_one(chunk_steps):
    steps, optimizer = MissedSteps(CPU), RowSGD(0.9, 0.05)
    maps = []
    for step in range(20):
        last = torch.arange(step + 1)
        expected = []
        for first in last.tolist():
            product = torch.eye(2, dtype=torch.float64)
            for transition in maps[first:]:
                product = transition @ product
            expected.append(product)
        torch.testing.assert_close(steps.products(last), torch.stack(expected), rtol=1e-13, atol=1e-16)
        maps.append(torch.tensor(optimizer.transition(schedule(step)), dtype=torch.float64))
        steps.append(optimizer.transition(schedule(step)))


def centers(optimizer, **options):
    options = {"seed": 3, "device": CPU, "dtype": torch.float64, "optimizer": optimizer, **options}
    return Centers(100, K, D, **options)


def touched_rows(step):
    """Between none and all of the rows; row 4 never, row 5 once."""
    generator = torch.Generator().manual_seed(step)
    is_touched = torch.rand(K, generator=generator) < 0.2
    is_touched[4], is_touched[5] = False, step == 17
    return torch.nonzero(is_touched).squeeze(1)


def gradient_of(center_RD, step):
    """Depends on where the centre is, so that a row brought in late goes wrong everywhere after; not chaotically."""
    return torch.sin(center_RD / 5 + step)


def run_rows(table, steps):
    """`steps` steps over touched rows: bring in, update, put back."""
    optimizer = table.optimizer
    for step in range(steps):
        classes = touched_rows(step)
        rows = torch.empty(len(classes), *table.table_KCPD.shape[1:], dtype=torch.float64)
        table.bring_in(classes, rows)
        rows_RPD = rows.flatten(0, 1)
        grad = gradient_of(rows_RPD[:, 0], step) + optimizer.gradient_decay * rows_RPD[:, 0]
        optimizer.update_(rows_RPD, grad, schedule(step), table.touches(classes))
        table.advance(schedule(step))
        table.put_back(classes, rows)


@pytest.mark.parametrize(("momentum", "decay"), [(0.9, 0.05), (0.9, 0.0), (0.0, 0.05), (0.0, 0.0)])
def test_lazy_sgd_is_dense_sgd(momentum, decay, chunk_steps):
    table = centers(RowSGD(momentum, decay))
    weight = nn.Parameter(table.table_KCPD[:K, 0, 0].clone())
    dense = torch.optim.SGD([weight], lr=1.0, momentum=momentum, weight_decay=decay)
    for step in range(80):
        classes = touched_rows(step)
        weight.grad = torch.zeros_like(weight)
        weight.grad[classes] = gradient_of(weight.detach()[classes], step)
        dense.param_groups[0]["lr"] = schedule(step)
        dense.step()
    run_rows(table, 80)
    table.flush()
    torch.testing.assert_close(table.table_KCPD[:K, 0, 0], weight.detach(), rtol=1e-11, atol=1e-13)
    if momentum:
        buffer = dense.state[weight]["momentum_buffer"]
        torch.testing.assert_close(table.table_KCPD[:K, 0, 1], buffer, rtol=1e-11, atol=1e-13)


def test_flushing_in_between_changes_nothing():
    tables = [centers(RowSGD(0.9, 0.05)) for _ in range(2)]
    for table, flushes in zip(tables, (False, True)):
        run_rows(table, 30)
        if flushes:
            table.flush()
            table.flush()
        classes = torch.tensor([4, 9])
        rows = torch.empty(2, 1, 2, D, dtype=torch.float64)
        table.bring_in(classes, rows)
        table.found = rows
    torch.testing.assert_close(tables[0].found, tables[1].found, rtol=1e-12, atol=1e-15)


def test_skip_leaves_rows_as_they_were_last_touched():
    table = centers(RowSGD(0.9, 0.05, lazy="skip"))
    before = table.table_KCPD[:K].clone()
    run_rows(table, 40)
    table.flush()
    assert torch.equal(table.table_KCPD[4], before[4])
    # Row 5 was touched at step 17 alone: one step of SGD from where it started.
    grad = gradient_of(before[5, 0, 0], 17) + 0.05 * before[5, 0, 0]
    torch.testing.assert_close(table.table_KCPD[5, 0, 0], before[5, 0, 0] - schedule(17) * grad)


def test_adamw_counts_the_touches_of_each_row():
    table = centers(RowAdamW(weight_decay=0.1))
    start = table.table_KCPD[:K, 0, 0].clone()
    run_rows(table, 40)
    table.flush()
    for row in range(K):
        weight = nn.Parameter(start[row].clone())
        alone = torch.optim.AdamW([weight], weight_decay=0.1)
        for step in range(40):
            if row in touched_rows(step):
                weight.grad = gradient_of(weight.detach(), step)
                alone.param_groups[0]["lr"] = schedule(step)
                alone.step()
        torch.testing.assert_close(table.table_KCPD[row, 0, 0], weight.detach(), rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("optimizer", [RowSGD(0.9, 0.05), RowSGD(0.9, 0.05, lazy="skip"), RowAdamW()])
def test_a_file_holds_what_memory_holds_and_starts_empty(tmp_path, optimizer):
    memory, file = centers(optimizer), centers(optimizer, place=f"mmap:{tmp_path / 'set'}")
    assert (file.table_KCPD == 0).all()
    for table in (memory, file):
        run_rows(table, 40)
        table.flush()
    assert torch.equal(memory.table_KCPD[:K], file.table_KCPD[:K])
    found = torch.from_file(str(tmp_path / "set" / "0-of-1.centers"), size=file.table_KCPD.numel(), dtype=torch.float64)
    assert torch.equal(found.view(file.table_KCPD.shape)[:K], memory.table_KCPD[:K])


def test_letting_go_of_pages_loses_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr("recognition.head.mapped.RESIDENT_BYTES", 1)
    memory, file = centers(RowSGD()), centers(RowSGD(), place=f"mmap:{tmp_path / 'set'}")
    for table in (memory, file):
        run_rows(table, 20)
        table.flush()
    assert torch.equal(memory.table_KCPD[:K], file.table_KCPD[:K])


def test_a_file_in_use_is_refused_and_a_disk_too_small_named(tmp_path, monkeypatch):
    first = centers(RowSGD(), place=f"mmap:{tmp_path / 'set'}")
    with pytest.raises(InputError, match=r"set/0-of-1.centers is in use by another run"):
        centers(RowSGD(), place=f"mmap:{tmp_path / 'set'}")
    assert first.file.path.exists()

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("recognition.head.mapped.os.posix_fallocate", full)
    with pytest.raises(InputError, match=r"takes .* left; name another disk"):
        centers(RowSGD(), place=f"mmap:{tmp_path / 'other'}")
    assert not list((tmp_path / "other").iterdir())
    centers(RowSGD(), place=f"sparse:{tmp_path / 'third'}")
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"cannot make .*file/set"):
        centers(RowSGD(), place=f"mmap:{tmp_path / 'file' / 'set'}")


def test_a_lazy_that_is_not_known_is_refused():
    with pytest.raises(InputError, match="lazy='sometimes'"):
        RowSGD(lazy="sometimes")
