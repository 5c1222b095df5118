"""Hangs are found and named, and slow ranks are waited for: forked ranks, some of which are stopped on purpose."""

import os
import re
import signal
import time

import pytest
import torch
import torch.distributed as dist

from recognition import liveness
from recognition.collectives import all_gather, all_reduce_sum
from recognition.errors import PeerEnded, PeerLost
from recognition.liveness import Heartbeat
from recognition.log import start_log
from recognition.whereabouts import Beat, decoded
from tests.ranks import run_ranks

TIMEOUT_S = 3.0


def saying(folder, runtime, work):
    """Call `work`; the message of its error, as a command would get it, goes into a file of this rank."""
    try:
        work()
    except (RuntimeError, PeerLost, PeerEnded) as error:
        told = runtime.heartbeat.explain(error) if isinstance(error, RuntimeError) else error
        (folder / f"said-{runtime.rank}").write_text(f"{type(told).__name__}: {told}")
        raise


def without_times(text):
    return re.sub(r"for \d\.\d s", "for", text)


def gather_for_ever(runtime, stopped, folder):
    if runtime.is_main:
        start_log(folder)

    def steps():
        for step in range(30):
            runtime.at("forward", step)
            if (step, runtime.rank) == (17, stopped):
                time.sleep(0.7)  # a beat from here
                os.kill(os.getpid(), signal.SIGSTOP)
            all_gather(torch.ones(2, 3), runtime, what="embeddings")

    saying(folder, runtime, steps)


@pytest.mark.parametrize(("world", "stopped"), [(2, 0), (2, 1), (3, 1)])
def test_a_stopped_rank_is_named_with_its_step_and_the_collective_that_waits(tmp_path, capfd, world, stopped):
    start = time.monotonic()
    with pytest.raises(PeerLost) as caught:
        run_ranks(gather_for_ever, world, stopped, tmp_path, collective_timeout_s=TIMEOUT_S)
    assert time.monotonic() - start < TIMEOUT_S + 5
    survivors = [rank for rank in range(world) if rank != stopped]
    log = tmp_path / "training.log"
    said = [(tmp_path / f"said-{rank}").read_text() for rank in survivors]
    for rank, text in zip(survivors, said):
        where = f"in {log}" if rank == 0 else "above"
        assert re.fullmatch(
            rf"PeerLost: rank {stopped} has not been heard of for \d\.\d s \(last: step 17, forward\); all_gather of "
            rf"embeddings \(step 17\) (timed out after 3 s|failed); stacks {where}",
            text,
        )
    assert without_times(f"PeerLost: {caught.value}") in map(without_times, said)
    assert any("timed out after 3 s" in text for text in said)
    # The stacks were taken while the main thread still stood in the collective.
    reports = log.read_text() if stopped else capfd.readouterr().err
    assert f"hang: rank {stopped} has not been heard of" in reports
    assert re.search(r"thread MainThread:\n(.*\n)* .*in steps\n(.*\n)*.*in all_gather\n", reports.split("Traceback")[0])


def stay_behind(runtime, folder):
    runtime.at("forward", 16)
    all_reduce_sum(torch.ones(1), runtime)
    if runtime.rank == 1:
        runtime.at("loading data")
        time.sleep(30)
    runtime.at("forward", 17)
    saying(folder, runtime, lambda: all_reduce_sum(torch.ones(1), runtime, what="gradients"))


def test_a_rank_that_is_alive_but_late_is_named_with_where_it_stands(tmp_path, capfd):
    with pytest.raises(PeerLost) as caught:
        run_ranks(stay_behind, 2, tmp_path, collective_timeout_s=1.0)
    assert re.fullmatch(
        r"rank 1 is alive and has stood at step 16, loading data, for \d\.\d s; all_reduce of gradients \(step 17\) "
        r"timed out after 1 s; stacks above",
        str(caught.value),
    )
    assert "in _reduced" in capfd.readouterr().err


def run_out_of_memory(runtime):
    time.sleep(0.1 * runtime.rank)
    raise RuntimeError("CUDA out of memory: timed out or not")


def test_other_errors_stay_as_they_are():
    with pytest.raises(RuntimeError, match="CUDA out of memory: timed out or not") as caught:
        run_ranks(run_out_of_memory, 2)
    assert type(caught.value) is RuntimeError


# --- patience ---------------------------------------------------------------------------------------------------------


def meet_often(runtime, folder):
    for meeting in range(40):
        time.sleep(0.02 * ((meeting * 7 + runtime.rank * 3) % 5 == 0))
        (folder / f"{meeting}-{runtime.rank}").touch()
        runtime.wait_for_all("a meeting")
        if not all((folder / f"{meeting}-{rank}").exists() for rank in range(runtime.world)):
            return meeting
    return None


@pytest.mark.parametrize("world", [2, 3])
def test_nobody_leaves_a_meeting_before_all_have_come_however_often_they_meet(tmp_path, world):
    assert run_ranks(meet_often, world, tmp_path) == [None] * world


def come_late(runtime):
    if runtime.rank == runtime.world - 1:
        time.sleep(3.5)
    runtime.wait_for_all("the report")
    return runtime.heartbeat.place.phase


@pytest.mark.parametrize("world", [2, 3])
def test_a_rank_that_works_for_three_timeouts_is_waited_for(world):
    assert run_ranks(come_late, world, collective_timeout_s=1.0) == ["the start"] * world


def stop_before_the_meeting(runtime, stopped, folder):
    if runtime.rank == stopped:
        runtime.at("embedding lfw", 17)
        time.sleep(0.7)
        os.kill(os.getpid(), signal.SIGSTOP)
    saying(folder, runtime, lambda: runtime.wait_for_all("the embeddings of lfw"))


@pytest.mark.parametrize("stopped", [0, 1])
def test_a_rank_that_stops_is_not_waited_for(tmp_path, capfd, stopped):
    start = time.monotonic()
    with pytest.raises(PeerLost) as caught:
        run_ranks(stop_before_the_meeting, 2, stopped, tmp_path, collective_timeout_s=TIMEOUT_S)
    assert TIMEOUT_S < time.monotonic() - start < TIMEOUT_S + 5
    assert re.fullmatch(
        rf"rank {stopped} has not been heard of for 3\.\d s \(last: step 17, embedding lfw\); "
        r"wait for all at the embeddings of lfw was given up; stacks above",
        str(caught.value),
    )
    assert "in stop_before_the_meeting" in capfd.readouterr().err


def leave_before_the_meeting(runtime, folder):
    if runtime.rank == 1:
        return
    saying(folder, runtime, lambda: runtime.wait_for_all("the report"))


def test_a_rank_that_ended_is_not_waited_for(tmp_path):
    start = time.monotonic()
    with pytest.raises(PeerEnded, match=r"^rank 1 ended \(last: the start\) before this one was done with its wait"):
        run_ranks(leave_before_the_meeting, 2, tmp_path, collective_timeout_s=20)
    assert time.monotonic() - start < 6  # two beats of a second, and what a busy machine takes


def test_time_in_which_this_process_was_stopped_itself_is_not_counted_against_the_others(monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(liveness.time, "monotonic", lambda: now[0])
    heartbeat = Heartbeat(0, 2, dist.HashStore(), timeout_s=10)
    (other,) = heartbeat.peers
    silent_s = []
    for elapsed_s in (1.0, 1.0, 3600.0, 1.0):
        now[0] += elapsed_s
        heartbeat.look()
        silent_s.append(other.silent_s)
    assert silent_s == [1.0, 2.0, 5.0, 6.0]


def test_a_rank_may_end_as_soon_as_all_have_met():
    store = dist.HashStore()
    store.add("liveness/arrived", 1)  # rank 1 came first, met rank 0, and has ended before rank 0 looks
    store.set("liveness/beat-1", Beat(1, 9, 17, "the end", 0.0, 0.0, ended=True).encoded())
    heartbeat = Heartbeat(0, 2, store, timeout_s=5)
    heartbeat.start()
    try:
        heartbeat.wait_for_all("the report")
        assert heartbeat.peers[0].ended
    finally:
        heartbeat.stop()
    assert decoded(store.get("liveness/beat-0")).ended
