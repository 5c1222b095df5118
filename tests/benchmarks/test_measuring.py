"""Clock, memory, processes and tables that every benchmark stands on."""

from __future__ import annotations

import json
import os

import pytest
import torch

from recognition.benchmarks import clock
from recognition.benchmarks.apart import apart
from recognition.benchmarks.memory import Peak
from recognition.benchmarks.report import machine, show, table
from recognition.errors import InputError


def test_sides_take_turns_and_the_least_counts(monkeypatch):
    now, taken = {"process_time": 0.0, "perf_counter": 0.0}, []
    for name in now:
        monkeypatch.setattr(clock.time, name, lambda name=name: now[name])
    costs = {"a": iter([9.0, 3.0, 2.0, 4.0]), "b": iter([1.0, 5.0, 7.0, 6.0])}

    def side(name):
        def step(number):
            taken.append((name, number))
            cost = next(costs[name])
            now["process_time"] += cost
            now["perf_counter"] += 10 - cost

        return step

    timings = clock.interleaved({"a": side("a"), "b": side("b")}, repeats=3, warmup=1)
    assert taken == [(name, number) for number in range(4) for name in "ab"]
    assert timings == {"a": (2.0, 6.0), "b": (5.0, 3.0)}
    assert timings["a"].figure(torch.device("cpu")) == 2.0
    assert timings["a"].figure(torch.device("cuda")) == 6.0


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
    results = apart(rank_and_sum, 10, ranks=2)
    assert [result[1:] for result in results] == [(0, 21.0), (1, 21.0)]
    assert len({os.getpid(), *(result[0] for result in results)}) == 3


def fail_on_rank_1(runtime):
    if runtime.rank == 1:
        raise InputError("rank 1 has a reason")
    torch.distributed.all_reduce(torch.ones(1))


def test_a_failing_rank_is_heard_and_the_others_do_not_wait_for_it():
    with pytest.raises(InputError, match="rank 1 has a reason"):
        apart(fail_on_rank_1, ranks=2)


def end_as_the_kernel_does(runtime):
    os.kill(os.getpid(), 9)


def test_a_process_that_is_ended_from_outside_is_one_line():
    with pytest.raises(InputError, match=r"end_as_the_kernel_does.*out of memory"):
        apart(end_as_the_kernel_does)


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
