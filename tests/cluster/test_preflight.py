"""What stops a run before it starts, and what the ranks of a preflight say of one machine."""

import dataclasses
import os
import time

import pytest
import torch

from recognition.cluster import preflight
from recognition.cluster.preflight import Finding, Rates, clock_skew_s, code_hash, is_shared, measure, problems, table
from tests.ranks import run_ranks

GOOD = Finding(
    rank=0,
    host="a",
    interface="eth0",
    address="10.0.0.1",
    skew_s=0.0,
    torch="2.13.0",
    code="12345678",
    shared=True,
    free_bytes=2**40,
)
OTHER = dataclasses.replace(GOOD, rank=2, host="b", address="10.0.0.2")


def test_nothing_is_wrong_with_machines_that_agree():
    assert problems([GOOD, dataclasses.replace(GOOD, rank=1), dataclasses.replace(OTHER, skew_s=-0.9)]) == []


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"torch": "2.12.1"}, "torch differs: a has 2.13.0, b has 2.12.1; install one torch on all hosts"),
        ({"code": "87654321"}, "code differs: a has 12345678, b has 87654321; install one arcscale on all hosts"),
        ({"skew_s": -1.5}, "the clock of b is -1.5 s off that of a; start a time service (chronyd) on both"),
        (
            {"shared": False},
            "b does not see what a writes into the folder; put the run on a file system that all hosts",
        ),
    ],
)
def test_each_difference_is_one_line(change, line):
    (found,) = problems([GOOD, dataclasses.replace(OTHER, **change), dataclasses.replace(OTHER, **change, rank=3)])
    assert found.startswith(line)


def test_a_full_disk_is_told():
    (found,) = problems([dataclasses.replace(GOOD, free_bytes=3 * 2**30), OTHER])
    assert found.startswith("3.0 GiB are free for the run")


def test_the_table_has_a_line_for_each_rank_and_one_for_the_rates():
    head, first, second, rates = table(
        [GOOD, dataclasses.replace(OTHER, shared=False)], Rates(12.5e9, 42e-6), size_bytes=64 * 2**20
    ).splitlines()
    assert " ".join(first.split()) == "0 a eth0 10.0.0.1 +0.000 s 2.13.0 12345678 shared 1024 GiB"
    assert second.split()[:4] == ["2", "b", "eth0", "10.0.0.2"]
    assert "APART" in second
    assert head.index("torch") == first.index("2.13.0")
    assert rates == "all-reduce of 64 MiB: 12.500 GB/s;  broadcast of a number: 0.042 ms"


def test_the_hash_of_the_code_changes_with_any_file_of_it(tmp_path):
    (tmp_path / "recognition").mkdir()
    file = tmp_path / "recognition" / "a.py"
    seen = []
    for text in ("x = 1\n", "x = 2\n", "x = 1\n"):
        file.write_text(text)
        seen.append(code_hash(tmp_path))
    file.rename(file.with_name("b.py"))
    assert seen[0] == seen[2] != seen[1]
    assert code_hash(tmp_path) != seen[0]


# --- ranks ------------------------------------------------------------------------------------------------------------


def test_a_folder_that_only_some_see_is_found_out(tmp_path, monkeypatch):
    monkeypatch.setattr(preflight, "SHARING_S", 0.3)

    def body(runtime):
        mine = tmp_path / ("there" if runtime.rank != 2 else "elsewhere")
        return is_shared(mine, runtime)

    assert run_ranks(body, 3) == [True, True, False]
    assert os.listdir(tmp_path / "there") == []


def test_a_clock_that_is_ahead_is_found_out(monkeypatch):
    def body(runtime):
        real = time.time
        if runtime.rank == 1:
            monkeypatch.setattr(time, "time", lambda: real() + 5)
        return clock_skew_s(runtime)

    first, second = run_ranks(body, 2)
    assert first == 0
    assert second == pytest.approx(5, abs=0.5)


def test_rates_are_those_of_the_slowest_rank(monkeypatch):
    def body(runtime):
        real = torch.distributed.all_reduce

        def slow(tensor, **options):
            time.sleep(0.05 if runtime.rank == 1 and tensor.numel() > 100 else 0)
            real(tensor, **options)

        monkeypatch.setattr(torch.distributed, "all_reduce", slow)
        return measure(runtime, size_bytes=4000)

    first, second = run_ranks(body, 2)
    assert first == second
    assert 0 < first.all_reduce_bytes_s <= 4000 / 0.05
    assert 0 < first.broadcast_s < 1
