"""Clock, memory, processes and tables that every benchmark stands on."""

from __future__ import annotations

import json
import os
from functools import partial
from pathlib import Path

import pytest
import torch

from recognition.benchmarks import clock
from recognition.benchmarks.apart import Ranks
from recognition.benchmarks.clock import Side, Timing, in_turns
from recognition.benchmarks.memory import Peak
from recognition.benchmarks.report import machine, show, table
from recognition.benchmarks.settings import Settings
from recognition.errors import InputError


def test_sides_take_turns_the_slowest_rank_and_the_least_repeat_count():
    taken = []
    of_rank_0 = {"a": iter([9.0, 3.0, 2.0, 4.0]), "b": iter([1.0, 5.0, 7.0, 6.0])}

    def take(name, number):
        taken.append((name, number))
        cpu_s = next(of_rank_0[name])
        return [Timing(cpu_s, 10 - cpu_s), Timing(2.5, 0.5)]

    timings = in_turns(take, {"a": None, "b": None}, 3, 1)
    assert taken == [(name, number) for number in range(4) for name in "ab"]
    assert timings == {"a": (2.5, 6.0), "b": (5.0, 3.0)}
    assert timings["a"].figure(torch.device("cpu")) == 2.5
    assert timings["a"].figure(torch.device("cuda")) == 6.0


def test_a_step_costs_what_the_clocks_say(monkeypatch):
    now = {"process_time": 1.0, "perf_counter": 5.0}
    for name in now:
        monkeypatch.setattr(clock.time, name, lambda name=name: now[name])

    def step(number):
        assert torch.get_num_threads() == 2
        now["process_time"] += number
        now["perf_counter"] += 0.5

    # The CPU time of child processes that ended before is added on both sides, and taken off again.
    timing = clock.timed_step(step, 3, threads=2, device=torch.device("cpu"))
    assert timing == pytest.approx(Timing(cpu_s=3.0, wall_s=0.5), rel=1e-12)


def make_busy(factor, keeps_memory, runtime):
    """A step that computes for a while, longer by `factor`, in a process that treats freed memory as it should."""
    assert (mapped_for(runtime, 200_000_000) > 150_000_000) == keeps_memory
    x = torch.ones(200, 200)

    def step(number):
        for _ in range(20 * factor):
            x.mm(x)

    return step


def test_sides_run_in_processes_of_their_own_and_the_longer_one_takes_longer():
    sides = {
        "short": Side(partial(make_busy, 1, True)),
        "long": Side(partial(make_busy, 20, False), keeps_memory=False),
    }
    one, two = Settings(repeats=2).timings_by_threads(sides, (1, 1))
    for timings in (one, two):
        assert timings["long"].cpu_s > 5 * timings["short"].cpu_s > 0
    assert Settings().ratio(one, "long", "short") == one["long"].cpu_s / one["short"].cpu_s


def test_threads_are_set_for_the_block_alone():
    with clock.computing_threads(2):
        assert torch.get_num_threads() == 2
    assert torch.get_num_threads() == 1


def test_a_peak_is_seen_after_it_is_gone_and_forgotten_on_restart():
    peak = Peak(torch.device("cpu"))
    block = torch.ones(25_000_000)
    del block
    assert peak.grown() == pytest.approx(100e6, rel=0.1)
    kept = torch.ones(5_000_000)
    peak.restart()
    assert peak.grown() == pytest.approx(kept.nbytes, rel=0.2)


def rank_and_sum(runtime, value):
    total = torch.tensor([float(runtime.rank + value)])
    torch.distributed.all_reduce(total)
    return os.getpid(), runtime.rank, float(total)


def test_ranks_run_in_processes_of_their_own():
    with Ranks(2) as call:
        first, second = call(rank_and_sum, 10), call(rank_and_sum, 20)
    assert [result[1:] for result in first] == [(0, 21.0), (1, 21.0)]
    assert [result[1:] for result in second] == [(0, 41.0), (1, 41.0)]
    assert len({os.getpid(), *(result[0] for result in first + second)}) == 3


def fail_on_rank_1(runtime):
    if runtime.rank == 1:
        raise InputError("rank 1 has a reason")
    torch.distributed.all_reduce(torch.ones(1))


def test_a_failing_rank_is_heard_and_the_others_do_not_wait_for_it():
    with pytest.raises(InputError, match="rank 1 has a reason"):
        Settings().apart(fail_on_rank_1, ranks=2)


def mapped_for(runtime, num_bytes):
    """Address space that a process gains by a large block and keeps once it is freed."""
    before = int(Path("/proc/self/statm").read_text().split()[0])
    block = torch.empty(num_bytes, dtype=torch.uint8)
    del block
    return (int(Path("/proc/self/statm").read_text().split()[0]) - before) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.parametrize("keeps_memory", [True, False])
def test_freed_memory_stays_with_those_that_keep_it(keeps_memory):
    with Ranks(keeps_memory=keeps_memory) as call:
        (kept,) = call(mapped_for, 200_000_000)
    assert (kept > 150_000_000) == keeps_memory


def end_as_the_kernel_does(runtime):
    os.kill(os.getpid(), 9)


def test_a_process_that_is_ended_from_outside_is_one_line():
    with pytest.raises(InputError, match=r"end_as_the_kernel_does.*out of memory"):
        Settings().apart(end_as_the_kernel_does)


ROWS = [{"way": "short", "figure": 0.12345, "n": 1_000_000, "passed": True}, {"way": "a longer one", "n": 2, "x": None}]


def test_table_is_aligned_markdown():
    head, rule, *lines = table(ROWS).splitlines()
    assert {len(line) for line in (head, rule, *lines)} == {len(head)}
    assert [cell.strip() for cell in head.split("|")[1:-1]] == ["way", "figure", "n", "passed", "x"]
    assert [cell.strip() for cell in lines[0].split("|")[1:-1]] == ["short", "0.123", "1,000,000", "yes", "-"]


def test_json_holds_the_machine_and_the_rows_as_measured(tmp_path, capsys):
    show("head", [*ROWS, {"figure": float("inf")}], machine() | {"threads": 1}, tmp_path / "figures.json")
    content = json.loads((tmp_path / "figures.json").read_text())
    assert content["benchmark"] == "head"
    assert set(content["machine"]) == {"cpu", "cores", "capability", "torch", "date", "threads"}
    assert content["rows"] == [*ROWS, {"figure": None}]
    printed = capsys.readouterr().out
    assert content["machine"]["cpu"] in printed
    assert "a longer one" in printed
