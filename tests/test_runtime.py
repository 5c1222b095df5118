"""Ranks, devices, threads and the process group, as the launcher's variables ask for them."""

import ctypes
import multiprocessing
import os
import re
import signal
import socket
import sys
import threading
import time
from types import SimpleNamespace

import pytest
import torch
import torch.distributed as dist

import recognition.runtime
from recognition import heap
from recognition.command import run_command
from recognition.environment import Launched, launched
from recognition.errors import InputError
from recognition.runtime import pick_device, start_runtime, usable_cores

LAUNCHER = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "TORCHELASTIC_RESTART_COUNT")
MEETING = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1", "TORCHELASTIC_USE_AGENT_STORE": "True"}


@pytest.fixture(autouse=True)
def started_alone(monkeypatch):
    for name in LAUNCHER:
        monkeypatch.delenv(name, raising=False)


def launcher_says(monkeypatch, *values):
    for name, value in zip(LAUNCHER, values):
        monkeypatch.setenv(name, str(value))


def machine_with(monkeypatch, gpus):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)


# --- the launcher's variables -----------------------------------------------------------------------------------------


def test_a_process_started_alone_is_the_only_rank():
    assert launched() == Launched(rank=0, world=1, local_rank=0, local_world=1, restarts=0)
    assert launched().label == ""


def test_every_variable_is_read(monkeypatch):
    launcher_says(monkeypatch, 11, 16, 3, 8, 2)
    assert launched() == Launched(rank=11, world=16, local_rank=3, local_world=8, restarts=2)
    assert launched().label == "[rank 11] "
    monkeypatch.delenv("LOCAL_WORLD_SIZE")
    assert launched().local_world == 16


# --- devices ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("gpus", "name", "local_rank", "device"),
    [
        (0, "auto", 1, "cpu"),
        (0, "cpu", 1, "cpu"),
        (2, "auto", 1, "cuda:1"),
        (2, "cuda", 1, "cuda:1"),
        (2, "cpu", 1, "cpu"),
        (2, "cuda:0", 0, "cuda:0"),
        (2, "cuda:1", 0, "cuda:1"),
    ],
)
def test_devices(monkeypatch, gpus, name, local_rank, device):
    machine_with(monkeypatch, gpus)
    assert pick_device(name, local_rank, 1 if ":" in name else 2) == torch.device(device)


@pytest.mark.parametrize(
    ("gpus", "name", "local_rank", "local_world", "message"),
    [
        (0, "cuda", 0, 1, "device=cuda was asked for, but torch sees no CUDA device; use device=cpu"),
        (0, "cuda:1", 0, 1, "device=cuda:1 was asked for, but torch sees no CUDA device"),
        (2, "cuda:1", 1, 2, "device=cuda:1 would put 2 ranks on one GPU"),
        (2, "cuda:2", 0, 1, "wants cuda:2, but there are 2 CUDA devices"),
        (2, "cuda", 2, 3, "local rank 2 wants cuda:2, but there are 2 CUDA devices here; lower --nproc_per_node"),
        (2, "auto", 2, 3, "local rank 2 wants cuda:2"),
        (2, "gpu", 0, 1, "device='gpu' is not known; use auto, cpu, cuda or cuda:N"),
        (2, "", 0, 1, "is not known"),
        (2, "cpu:0", 0, 1, "is not known"),
        (2, "cuda:", 0, 1, "is not known"),
        (2, "cuda:one", 0, 1, "is not known"),
        (2, "cuda:-1", 0, 1, "is not known"),
        (2, "cuda:0:1", 0, 1, "is not known"),
        (2, "cuda0", 0, 1, "is not known"),
        (2, "cudaish", 0, 2, "is not known"),
    ],
)
def test_devices_that_are_not_to_be_had(monkeypatch, gpus, name, local_rank, local_world, message):
    machine_with(monkeypatch, gpus)
    with pytest.raises(InputError, match=message.replace("(", r"\(")):
        pick_device(name, local_rank, local_world)


# --- threads and memory -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("threads", "cores", "local_world", "expected"),
    [(1, 8, 1, 1), (3, 8, 2, 3), (0, 8, 1, 8), (0, 8, 2, 4), (0, 7, 2, 3), (0, 2, 4, 1)],
)
def test_threads_of_a_rank(monkeypatch, threads, cores, local_world, expected):
    launcher_says(monkeypatch, 0, 1, 0, local_world)
    monkeypatch.setattr(recognition.runtime, "usable_cores", lambda: cores)
    with start_runtime("cpu", threads=threads):
        assert torch.get_num_threads() == expected


def test_only_the_cores_that_this_process_may_use_count(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {1, 5, 6}, raising=False)
    assert usable_cores() == 3
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 12)
    assert usable_cores() == 12


@pytest.mark.parametrize(("device", "kept"), [("cpu", ["kept"]), ("cuda", [])])
def test_freed_memory_is_kept_on_a_cpu_only(monkeypatch, device, kept):
    machine_with(monkeypatch, 1)
    found, chosen = [], []
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    monkeypatch.setattr(recognition.runtime, "keep_freed_memory", lambda: found.append("kept"))
    with start_runtime(device, threads=1) as runtime:
        assert (runtime.rank, runtime.world, runtime.is_main, runtime.backend) == (0, 1, True, "none")
        assert runtime.device.type == device
        runtime.barrier()  # nobody to wait for
    assert found == kept
    assert chosen == ([torch.device("cuda:0")] if device == "cuda" else [])


def test_glibc_is_told_both_settings(monkeypatch):
    told = []
    fake = SimpleNamespace(mallopt=lambda *setting: told.append(setting) or 1)
    monkeypatch.setattr(ctypes, "CDLL", lambda _: fake)
    assert heap.keep_freed_memory()
    assert sorted(told) == [(-4, 0), (-1, -1)]  # malloc.h: no mmap for large blocks, no trimming of the heap
    fake.mallopt = lambda *_: 0
    assert not heap.keep_freed_memory()
    monkeypatch.setattr(ctypes, "CDLL", lambda _: object())
    assert not heap.keep_freed_memory()


# --- the process group ------------------------------------------------------------------------------------------------


@pytest.fixture
def group(monkeypatch):
    """Process groups that are only noted: what they were made with, and whether they were destroyed."""
    noted = SimpleNamespace(made=[], destroyed=0, store=dist.HashStore())

    def destroy():
        noted.destroyed += 1

    for name, value in MEETING.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(dist, "rendezvous", lambda *_: iter([(noted.store, 1, 2)]))
    monkeypatch.setattr(
        dist, "init_process_group", lambda backend, **given: noted.made.append({"backend": backend, **given})
    )
    monkeypatch.setattr(dist, "destroy_process_group", destroy)
    return noted


def test_the_group_is_made_as_asked_and_destroyed_at_the_end(monkeypatch, group):
    launcher_says(monkeypatch, 1, 2, 1, 2)
    with start_runtime("cpu", threads=1, collective_timeout_s=7) as runtime:
        assert (runtime.rank, runtime.world, runtime.is_main, runtime.backend) == (1, 2, False, "gloo")
        assert group.destroyed == 0
    assert group.destroyed == 1
    (made,) = group.made
    assert (made["backend"], made["rank"], made["world_size"], made["device_id"]) == ("gloo", 1, 2, None)
    assert made["timeout"].total_seconds() == 7


def test_gpus_talk_by_nccl(monkeypatch, group):
    launcher_says(monkeypatch, 1, 2, 1, 2)
    machine_with(monkeypatch, 2)
    monkeypatch.setattr(torch.cuda, "set_device", lambda _: None)
    monkeypatch.setenv("TORCH_FR_BUFFER_SIZE", "5")
    monkeypatch.setenv("TORCH_NCCL_DUMP_ON_TIMEOUT", "")  # so that it is taken back after the test
    monkeypatch.delenv("TORCH_NCCL_DUMP_ON_TIMEOUT")
    with start_runtime("auto", threads=1) as runtime:
        assert (runtime.backend, runtime.device) == ("nccl", torch.device("cuda:1"))
    assert (group.made[0]["backend"], group.made[0]["device_id"]) == ("nccl", torch.device("cuda:1"))
    assert os.environ["TORCH_FR_BUFFER_SIZE"] == "5"  # the user's own wish
    assert os.environ["TORCH_NCCL_DUMP_ON_TIMEOUT"] == "1"


def test_after_an_error_nobody_waits_for_peers(monkeypatch, group):
    launcher_says(monkeypatch, 1, 2, 1, 2)
    with pytest.raises(ZeroDivisionError):
        with start_runtime("cpu", threads=1):
            raise ZeroDivisionError
    assert (len(group.made), group.destroyed) == (1, 0)


def test_one_process_makes_no_group(group):
    with start_runtime("cpu", threads=1):
        pass
    assert (group.made, group.destroyed) == ([], 0)


def test_a_restarted_run_does_not_meet_what_its_predecessor_left(monkeypatch, group):
    group.store = dist.TCPStore("127.0.0.1", 0, 1, is_master=True, wait_for_workers=False)
    for restarts in (0, 1, 1):
        launcher_says(monkeypatch, 0, 2, 0, 2, restarts)
        with start_runtime("cpu", threads=1):
            pass
    before, after, beside = (made["store"] for made in group.made)
    before.set("address of rank 1", "dead")
    assert not after.check(["address of rank 1"])
    after.set("address of rank 1", "alive")
    assert beside.get("address of rank 1") == b"alive"
    assert before.get("address of rank 1") == b"dead"


# --- two real ranks ---------------------------------------------------------------------------------------------------


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def rank_process(rank, port, folder, body):
    """Body of a forked rank: `body(runtime)` as a command runs it, what it says in `folder`."""
    names = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "GLOO_SOCKET_IFNAME": "lo"}
    os.environ.update({key: str(value) for key, value in {**names, **dict(zip(LAUNCHER, (rank, 2, rank, 2)))}.items()})
    sys.stderr = (folder / f"stderr-{rank}").open("w")

    def main():
        with start_runtime("cpu", threads=1, collective_timeout_s=2) as runtime:
            body(runtime)

    run_command(main)


def end_of_two_ranks(folder, body, first=0, timeout_s=40):
    """(exit code, stderr) of each rank; the other is killed when it outlives the first for long."""
    context, port = multiprocessing.get_context("fork"), free_port()
    ranks = [context.Process(target=rank_process, args=(rank, port, folder, body)) for rank in range(2)]
    for rank in ranks:
        rank.start()
    try:
        ranks[first].join(timeout_s)
        ranks[1 - first].join(1)
        return [(rank.exitcode, (folder / f"stderr-{i}").read_text()) for i, rank in enumerate(ranks)]
    finally:
        for rank in ranks:
            rank.kill()
            rank.join()


def meet(runtime):
    total = torch.full((1,), float(runtime.rank + 1))
    dist.all_reduce(total)
    runtime.barrier()
    assert total == 3


def leave(runtime):
    if runtime.rank == 1:
        os._exit(3)
    runtime.barrier()


def stall(runtime):
    if runtime.rank == 1:
        time.sleep(20)
        os._exit(0)
    runtime.barrier()


def end_early(runtime):
    runtime.at("loading", 4)
    time.sleep(0.5)  # a beat that says so
    if runtime.rank == 1:
        raise InputError("b.rec: label 9 is out of range")
    runtime.wait_for_all("the checkpoint")


def freeze(runtime, wait):
    runtime.wait_for_all("the start")  # a rank that still connects to the store waits as long as torch does
    if runtime.rank == 0:
        time.sleep(0.2)
        os.kill(os.getpid(), signal.SIGSTOP)
    time.sleep(0.5)
    wait(runtime)


def test_two_ranks_meet_and_end_well(tmp_path):
    assert end_of_two_ranks(tmp_path, meet) == [(0, ""), (0, "")]


def test_a_rank_that_stalls_ends_the_wait_of_the_other(tmp_path):
    (code, stderr), _ = end_of_two_ranks(tmp_path, stall)
    assert code == 1
    line = stderr.splitlines()[-1]
    assert re.match(r"\[rank 0\] error: rank 1 is alive and has stood at the start, for \d\.\d s; ", line)
    assert line.endswith("; barrier timed out after 2 s; stacks above")
    assert "in stall\n" in stderr


def test_a_rank_that_ends_is_not_blamed_on_the_one_that_waits(tmp_path):
    (code, stderr), (other_code, _) = end_of_two_ranks(tmp_path, leave)
    assert (code, other_code) == (1, 3)
    assert stderr == "[rank 0] stopped: another rank ended first; its own message says why\n"


def test_a_rank_that_ends_while_the_other_waits_for_all_is_named_at_once(tmp_path):
    start = time.monotonic()
    (code, stderr), (other_code, other) = end_of_two_ranks(tmp_path, end_early)
    assert time.monotonic() - start < 2  # less than the timeout
    assert (other_code, other) == (2, "[rank 1] error: b.rec: label 9 is out of range\n")
    assert code == 1
    assert stderr == (
        "[rank 0] stopped: rank 1 ended (last: step 4, loading) before this one was done with its wait for all at "
        "the checkpoint (step 4); its own message says why\n"
    )


@pytest.mark.parametrize("wait", [lambda runtime: runtime.barrier(), lambda runtime: runtime.wait_for_all("it")])
def test_a_rank_0_that_stands_still_with_the_store_in_it_does_not_hold_the_others(tmp_path, wait):
    start = time.monotonic()
    _, (code, stderr) = end_of_two_ranks(tmp_path, lambda runtime: freeze(runtime, wait), first=1)
    assert time.monotonic() - start < 2 + 5 + 2  # the collectives' timeout, the goal, and the end of the harness
    assert code == 1
    line = stderr.splitlines()[-1]
    assert "the store in which the ranks meet has not answered for" in line
    assert ("barrier timed out after 2 s" in line) or ("wait for all at it was given up" in line)
    assert "in freeze\n" in stderr


def test_one_process_has_no_heartbeat():
    with start_runtime("cpu", threads=1) as runtime:
        runtime.at("forward", 3)
        with runtime.collective("all_gather of nothing"):
            runtime.wait_for_all("it")
        assert runtime.heartbeat is None
        assert "heartbeat" not in [thread.name for thread in threading.enumerate()]
