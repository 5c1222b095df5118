"""A bound that is not kept ends the command with code 1; every group of gates measures what it says."""

from __future__ import annotations

import dataclasses
import json
import math
import sys

import pytest
import torch

from launch import bench
from recognition.benchmarks import gates, head, lazy, sampling, sides
from recognition.benchmarks.clock import Timing
from recognition.benchmarks.gates import AT_LEAST, AT_MOST, Gate
from recognition.benchmarks.settings import Settings
from recognition.errors import InputError
from recognition.head.health import Health
from recognition.head.rows import RowSGD
from recognition.runtime import Runtime

COLUMNS = {"group", "gate", "figure", "needs", "bound", "unit", "passed", "detail"}


@pytest.mark.parametrize(
    ("figure", "needs", "passed"),
    [
        (3.1, AT_LEAST, True),
        (3.0, AT_LEAST, True),
        (2.9, AT_LEAST, False),
        (2.9, AT_MOST, True),
        (3.0, AT_MOST, True),
        (3.1, AT_MOST, False),
        (math.nan, AT_LEAST, False),
        (math.nan, AT_MOST, False),
        (-0.1, AT_MOST, False),
    ],
)
def test_a_gate_passes_at_its_bound_and_never_on_nan(figure, needs, passed):
    assert Gate("some", figure, needs, 3.0).passed is passed


@pytest.mark.parametrize(("figures", "code"), [((2.0, 3.0), None), ((2.0, 1.0), 1)])
def test_the_command_ends_with_1_where_a_figure_falls_short(monkeypatch, tmp_path, capsys, figures, code):
    made = [Gate(f"number {n}", figure, AT_LEAST, 2.0) for n, figure in enumerate(figures)]
    monkeypatch.setitem(gates.GROUPS, "lazy", lambda sizes, settings: made)
    file = tmp_path / "gates.json"
    monkeypatch.setattr(sys, "argv", ["bench.py", "gates", "lazy", "--json", str(file)])
    if code is None:
        bench.main()
    else:
        with pytest.raises(SystemExit) as ended:
            bench.main()
        assert ended.value.code == code
    rows = json.loads(file.read_text())["rows"]
    assert [row["passed"] for row in rows] == [figure >= 2 for figure in figures]
    assert set(rows[0]) == COLUMNS
    assert ("NO" in capsys.readouterr().out) == (code == 1)


def test_a_ratio_is_the_baselines_time_over_ours(monkeypatch, here, tiny):
    """CPU time decides; wall time, and the baseline at its best, are told beside it."""
    times = {sides.DENSE: 6.0, sides.DENSE_AT_BEST: 4.5, "fp32 auto": 2.0, "bf16 auto": 1.0}
    by_threads = [
        {name: Timing(t, 99.0) for name, t in times.items()},
        {name: Timing(99.0, t * t) for name, t in times.items()},
    ]
    monkeypatch.setattr(type(here), "timings_by_threads", lambda *args, **options: by_threads)
    rows = gates.bench_gates(here, groups=["softmax"], sizes=tiny)
    assert [row["figure"] for row in rows] == [3.0, 6.0]
    assert [row["passed"] for row in rows] == [True, True]
    assert "6 -> 2 CPU s; against the baseline at its best 2.25x; wall, 1 threads 9.00x" in rows[0]["detail"]


def test_an_unknown_group_is_named_with_those_there_are(here):
    with pytest.raises(InputError, match=r"'hade'.*head.*backbone"):
        gates.bench_gates(here, groups=["hade"])


def test_head_and_all_stand_for_groups_each_measured_once(monkeypatch, here):
    for name in gates.GROUPS:
        monkeypatch.setitem(gates.GROUPS, name, lambda sizes, settings, name=name: [Gate(name, 1, AT_MOST, 1)])
    assert [row["group"] for row in gates.bench_gates(here, groups=["lazy", "head"])][:2] == ["lazy", "softmax"]
    assert [row["group"] for row in gates.bench_gates(here, groups=["all", "step"])] == list(gates.GROUPS)
    assert not {"step", "data"} & {row["group"] for row in gates.bench_gates(here, groups=["head"])}


@pytest.mark.parametrize("group", gates.GROUPS)
def test_a_group_measures_its_gates(here, tiny, group):
    rows = gates.bench_gates(here, groups=[group], sizes=tiny)
    assert rows
    for row in rows:
        assert set(row) == COLUMNS
        assert row["group"] == group
        assert math.isfinite(row["figure"])
    if group in ("collectives", "lazy", "memory", "syncs"):
        assert all(row["passed"] for row in rows), rows


def test_the_bounds_are_those_that_were_agreed(here, tiny, monkeypatch):
    rows = gates.bench_gates(here, groups=["head"], sizes=dataclasses.replace(tiny, worlds=(1, 1)))
    at_least = [(row["group"], row["bound"]) for row in rows if row["needs"] == AT_LEAST]
    at_most = [(row["group"], row["bound"]) for row in rows if row["needs"] == AT_MOST]
    assert at_least == [
        *[("softmax", 2.8), ("softmax", 4.2)],
        *[("sampled", 3.0), ("sampled", 9.0)],
        *[("sampling", 8.0), ("sampling", 3.0)],
    ]
    assert at_most == [
        *[("memory", 64), ("memory", 600)],
        *[("collectives", 3), ("collectives", 4)] * 2,
        *[("syncs", 0)] * 3,
        ("lazy", 1e-4),
    ]


def test_rows_that_are_not_caught_up_fail_the_lazy_gate(monkeypatch):
    case = dataclasses.replace(lazy.CASE, num_classes=200, batch=8)
    assert lazy.lazy_difference(Runtime(), 30, case) < 1e-5
    monkeypatch.setattr(sides, "RowSGD", lambda **options: RowSGD(**options, lazy="skip"))
    assert lazy.lazy_difference(Runtime(), 30, case) > 1e-2


def test_both_ways_to_sample_find_every_label():
    labels_G = torch.tensor([3, 90, 3, 17])
    classes, slot_G = sampling.drawn(labels_G, 100, 0.1, step=4)
    assert torch.equal(classes[slot_G], labels_G)
    used = classes[classes < 100].tolist()
    assert len(used) == len(set(used))


def test_collectives_are_really_counted_at_two_ranks():
    case = sides.HeadCase(40, 1.0, 8, 16, ranks=2)
    seen = Settings(repeats=1).apart(head.observed, case, sides.streamed_step, ranks=2)
    assert [rank.collectives for rank in seen] == [3, 3]


def test_a_step_that_reads_fails_the_sync_gate(here, tiny, monkeypatch):
    note = Health.note
    monkeypatch.setattr(Health, "note", lambda self, *a: (note(self, *a), self._first.tolist())[0])
    assert not any(row["passed"] for row in gates.bench_gates(here, groups=["syncs"], sizes=tiny))


def test_a_head_that_hoards_is_seen():
    def hoards(case, runtime):
        kept = []
        return lambda number: kept.append(torch.ones(20_000_000))

    assert head.observed(Runtime(), sides.HeadCase(40, 1.0, 8, 16), hoards).peak_bytes > 150e6


def test_gates_measure_the_cases_that_they_name(here, tiny, monkeypatch):
    seen, asked, real = [], [], gates.sides_of

    class Spy(type(here)):
        def apart(self, function, *args, **options):
            asked.extend(arg for arg in args if isinstance(arg, sides.HeadCase))
            return super().apart(function, *args, **options)

    monkeypatch.setattr(gates, "sides_of", lambda cases: (seen.extend(cases), real(cases))[1])
    sizes = dataclasses.replace(tiny, worlds=(1,))
    gates.bench_gates(Spy(repeats=1), groups=["softmax", "sampled", "memory", "syncs"], sizes=sizes)
    assert [(c.operands, c.sample_rate) for c in seen] == [("fp32", 1), ("bf16", 1), ("fp32", 0.1), ("fp32", 0.02)]
    assert {case.mode for case in asked} >= {"keep", "recompute"}
    assert {case.sample_rate for case in asked} == {1.0, 0.1}
