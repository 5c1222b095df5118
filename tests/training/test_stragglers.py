"""The slow rank is named, with what it is slow at, and no rank is where all are alike."""

import time

import numpy as np
import pytest

from recognition.runtime import Runtime
from recognition.training.stragglers import Spread, StragglerReport, slow_ranks
from tests.ranks import run_ranks


def three_windows(runtime):
    report, spreads = StragglerReport(), []
    for window in range(3):
        for step in range(window):
            report.note(0.01 * (runtime.rank + step), 0.1 * (runtime.rank + window))
        spreads.append(report.read(runtime))
    return spreads


def test_all_ranks_read_the_means_of_each_window():
    ranks = run_ranks(three_windows, 3)
    assert ranks[0] == ranks[1] == ranks[2]
    empty, one, two = ranks[0]
    assert empty == Spread((0.0, 0.0, 0.0), (0.0, 0.0, 0.0))
    assert one.data_wait_by_rank == pytest.approx((0.0, 0.01, 0.02), rel=1e-14)
    assert two.data_wait_by_rank == pytest.approx((0.005, 0.015, 0.025), rel=1e-14)
    assert two.compute_by_rank == pytest.approx((0.2, 0.3, 0.4), rel=1e-14)


def slowed_by_200_ms(runtime, kind):
    report = StragglerReport()
    for _ in range(3):
        started = time.perf_counter()
        time.sleep(0.01 + 0.2 * (runtime.rank == 2))
        took_s = time.perf_counter() - started
        report.note(*((took_s, 0.01) if kind == "waiting for data" else (0.01, took_s)))
    spread = report.read(runtime)
    return spread.lines, spread.row


@pytest.mark.parametrize("kind", ["waiting for data", "compute"])
def test_200_ms_on_one_rank_are_named_with_their_kind(kind):
    for lines, row in run_ranks(slowed_by_200_ms, 4, kind):
        assert len(lines) == 1
        assert lines[0].startswith("rank 2 is slow: 0.2")
        assert f" s of {kind} a step, the others 0.0" in lines[0]
        assert row["slowest_rank"] == 2
        assert row["slowest_s"] > row["median_s"] + 0.15


def test_the_line_and_the_row():
    spread = Spread((0.0, 0.25, 0.0, 0.0), (0.11, 0.1, 0.12, 0.31))
    assert spread.lines == [
        "rank 1 is slow: 0.25 s of waiting for data a step, the others 0.00 s",
        "rank 3 is slow: 0.31 s of compute a step, the others 0.11 s",
    ]
    assert spread.row == {
        "slowest_rank": 1,
        "slowest_s": 0.35,
        "median_s": pytest.approx(0.215),
        "data_wait_by_rank": [0.0, 0.25, 0.0, 0.0],
        "compute_by_rank": [0.11, 0.1, 0.12, 0.31],
    }


@pytest.mark.parametrize(
    ("times", "slow"),
    [
        ([0.3], []),
        ([0.2, 0.2, 0.2], []),
        ([1.0, 1.0, 1.21], [2]),
        ([1.0, 1.0, 1.19], []),  # 20 % are nothing yet
        ([0.01, 0.01, 0.029], []),  # nor are 20 ms
        ([0.01, 0.01, 0.031], [2]),
        ([0.3, 0.3, 0.1, 0.1, 0.1], [0, 1]),
        ([0.1, 0.3], [1]),
        ([5.0, 5.0, 5.0, 0.1], []),  # a fast one does not make the others slow
    ],
)
def test_slow_is_20_percent_and_20_ms_above_the_others(times, slow):
    assert sorted(rank for rank, _, _ in slow_ranks(times)) == slow


def test_slow_ranks_are_those_of_a_comparison_of_each_with_its_others():
    rng = np.random.default_rng(0)
    for _ in range(300):
        times = (0.1 * rng.lognormal(sigma=0.3, size=rng.integers(2, 9))).tolist()
        expected = {}
        for rank, time_s in enumerate(times):
            others = np.median(np.delete(times, rank))
            if time_s > 1.2 * others and time_s > others + 0.02:
                expected[rank] = others
        assert {rank: others for rank, _, others in slow_ranks(times)} == pytest.approx(expected)


def test_no_more_than_three_slow_ranks_are_told():
    lines = Spread((0.0,) * 16, (*(1.0 + rank for rank in range(7)), *(0.1,) * 9)).lines
    assert [line.split(" is slow")[0] for line in lines] == ["rank 6", "rank 5", "rank 4"]


def test_one_rank_is_never_slow():
    report = StragglerReport()
    report.note(5.0, 7.0)
    spread = report.read(Runtime())
    assert spread.lines == []
    assert spread.row == {
        "slowest_rank": 0, "slowest_s": 12.0, "median_s": 12.0, "data_wait_by_rank": [5.0], "compute_by_rank": [7.0],
    }  # fmt: skip
