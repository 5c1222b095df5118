"""The tables of the single benchmarks, at tiny sizes: rows that are asked for are there, and mean what they say."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from recognition.backbones import build_backbone
from recognition.benchmarks import data, mapped, step
from recognition.benchmarks.backbone import STOCK, STOCK_AT_BEST, WAYS, bench_backbone, stock, ways_of
from recognition.benchmarks.baseline import DenseHead
from recognition.benchmarks.data_set import DataCase
from recognition.benchmarks.head import bench_head, combined, observed
from recognition.benchmarks.settings import Settings
from recognition.benchmarks.sides import HeadCase, dense_head, dense_step, sides_of, streamed_head, streamed_step
from recognition.errors import InputError
from recognition.runtime import Runtime

HEAD = {"identities": [50], "rates": [1.0, 0.5], "ranks": [1], "operands": ["fp32"], "modes": ["keep"]}


def test_head_rows_pair_each_case_with_the_baseline(here):
    rows = bench_head(here, **HEAD, batch=8)
    assert [(row["rate"], row["mode"]) for row in rows] == [
        *[(1.0, "baseline"), (1.0, "keep"), (0.5, "baseline"), (0.5, "keep")],
    ]
    for theirs, ours in zip(rows[::2], rows[1::2]):
        assert theirs["x"] == 1
        assert ours["x"] == theirs["CPU s"] / ours["CPU s"]
        assert ours["host reads"] < theirs["host reads"]
    alone = bench_head(here, **HEAD, batch=8, baseline=False)
    assert [row["mode"] for row in alone] == ["keep", "keep"]
    assert alone[0]["x"] is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"rates": [1.5]}, r"1\.5 must lie in"), ({"ranks": [3]}, "3 ranks"), ({"identities": [10**11]}, "GB of memory")],
)
def test_what_cannot_be_measured_is_one_line(here, changes, message):
    with pytest.raises(InputError, match=message):
        bench_head(here, **HEAD | changes, batch=8)


def test_every_combination_is_a_case():
    cases = combined([10, 20], [1.0, 0.1], [1, 2], ["fp32", "bf16"], ["keep"], batch=8)
    assert len(cases) == len(set(cases)) == 16


@pytest.mark.parametrize("rate", [1.0, 0.3])
def test_both_sides_take_the_same_step(rate):
    """At rate 1 loss and weights agree after several steps; a sampled loss of two different draws is alike at least."""
    case = HeadCase(40, rate, 8, 256, mode="recompute")
    ours, theirs = streamed_head(case, Runtime()), dense_head(case, Runtime())
    theirs.weight.data.copy_(ours.weight)
    our_step, their_step = streamed_step(case, Runtime(), ours), dense_step(case, Runtime(), theirs)
    for number in range(3):
        loss, dense_loss = our_step(number), their_step(number)
        torch.testing.assert_close(loss, dense_loss, rtol=1e-4 if rate == 1 else 0.2, atol=0)
    if rate == 1:
        torch.testing.assert_close(ours.weight, theirs.weight.detach(), rtol=1e-4, atol=1e-5)


def test_state_is_weights_and_momentum_of_the_largest_shard():
    assert HeadCase(101, embedding_size=8, ranks=2).state_bytes == 51 * 8 * 2 * 4
    head = DenseHead(8, 101, runtime=Runtime())
    assert HeadCase(101, embedding_size=8, batch=4).dense_bytes >= 3 * head.weight.nbytes + 4 * 4 * 101


def test_memory_is_counted_above_weights_and_momentum():
    case = HeadCase(60_000, batch=8, embedding_size=128, mode="recompute")
    (seen,) = Settings().apart(observed, case, streamed_step)
    assert 0 < seen.peak_bytes < case.state_bytes / 2


def test_backbone_rows_are_relative_to_the_first_way(here):
    rows = bench_backbone(here, networks=["mbf_tiny"], batch=2, image_size=32)
    assert [row["way"] for row in rows] == [STOCK, STOCK_AT_BEST, "channels_last fp32", "channels_last bf16"]
    assert rows[0]["x"] == 1
    assert rows[2]["x"] == pytest.approx(rows[2]["images/CPU s"] / rows[0]["images/CPU s"])


@pytest.mark.parametrize(
    ("sides", "stock"),
    [
        (sides_of([HeadCase(50)]), "baseline"),
        (step.sides_of([step.StepCase()]), "baseline"),
        (ways_of("mbf_tiny", 2, list(WAYS)), STOCK),
        ({name: way.side for name, way in data.ways_of(DataCase(Path(), Path(), 8, 4, 32), [1]).items()}, "baseline"),
    ],
)
def test_only_what_others_are_measured_against_hands_freed_memory_back(sides, stock):
    assert [name for name, side in sides.items() if not side.keeps_memory] == [stock]
    assert len(sides) >= 3


def test_stock_layers_compute_the_same():
    torch.manual_seed(0)
    backbone = build_backbone("r_tiny", image_size=32).eval()
    for name, parameter in backbone.named_parameters():
        if "prelu" in name:
            torch.nn.init.uniform_(parameter)
    x_BCHW = torch.randn(2, 3, 32, 32)
    expected, keys = backbone(x_BCHW), set(backbone.state_dict())
    plain = stock(backbone)
    assert {type(module).__module__.split(".")[0] for module in plain.modules() if "PReLU" in str(type(module))} == {
        "torch"
    }
    torch.testing.assert_close(plain(x_BCHW), expected)
    assert set(plain.state_dict()) == keys


def test_step_rows(here):
    rows = step.bench_step(here, network="mbf_tiny", batch=4, identities=20, precisions=["fp32", "bf16"], image_size=32)
    assert [row["step"] for row in rows] == ["baseline", "baseline at its best", "fp32", "bf16"]
    assert all(row["CPU s"] > 0 for row in rows)


MAPPED = {"sampled": 40, "batch": 8, "embedding_size": 16}


def test_mapped_centres_leave_nothing_behind(here, tmp_path):
    rows = mapped.bench_mapped(here, identities=[60, 3000], folder=tmp_path, **MAPPED)
    assert [(row["identities"], row["sampled"], row["passed"]) for row in rows] == [(60, 40, True), (3000, 40, True)]
    assert not list(tmp_path.iterdir())
    # Sparse: far from all of the larger table was ever touched.
    assert rows[1]["on disk GB"] > 0
    assert rows[1]["resident GB"] > 0.05


def test_too_much_resident_memory_fails(here, tmp_path, monkeypatch):
    monkeypatch.setattr(mapped, "RESIDENT_LIMIT_BYTES", 1_000_000)
    assert not mapped.bench_mapped(here, identities=[60], folder=tmp_path, **MAPPED)[0]["passed"]


def test_a_full_disk_is_one_line_that_says_how_much(here, tmp_path, monkeypatch):
    usage = type("Usage", (), {"free": 900_000_000})
    monkeypatch.setattr(mapped.shutil, "disk_usage", lambda folder: usage)
    with pytest.raises(InputError, match=r"0\.9 GB free; 60 identities need 1\.0 GB"):
        mapped.bench_mapped(here, identities=[60], folder=tmp_path, **MAPPED)
    with pytest.raises(InputError, match="is no folder"):
        mapped.bench_mapped(here, identities=[60], folder=tmp_path / "none", **MAPPED)
