"""A signal to one rank in the middle of a step: all stop at the end of the same one, and lose nothing by it."""

import os
import signal
import time
from signal import SIGINT, SIGTERM, SIGUSR1

import pytest

from recognition.checkpoint.folder import listed
from recognition.checkpoint.layout import STATE
from recognition.checkpoint.opening import open_checkpoint
from recognition.errors import Stopped
from recognition.training import assembly, preemption
from recognition.training.loop import train
from recognition.training.metrics import read_rows
from recognition.training.run_directory import read_status
from tests.ranks import run_ranks
from tests.training.small_runs import digests, small, unreported

STEPS = 8


def run(runtime, folder, *overrides):
    """Train eight steps, without a report, that are stored at the end and when somebody asks for a stop."""
    options = ("num_image=400", f"max_steps={STEPS}", "checkpoint_steps=0", "checkpoint_keep=99")
    with unreported():
        train(small(folder, *options, *overrides), runtime)


def signalled(runtime, folder, signals, apart_s=0.0):
    """The same run, whose ranks send themselves `signals`, (rank, step, number), between forward and backward pass.

    What the run said and named when it stopped, None if it did not, and whether the handlers are those from before.
    """

    class Signalled(assembly.TrainStep):
        def embed(self, batch):
            emb_BD = super().embed(batch)
            for number in [number for rank, step, number in signals if (rank, step) == (runtime.rank, self.now)]:
                os.kill(os.getpid(), number)
                time.sleep(apart_s)
            return emb_BD

        def __call__(self, batches, *, step, **options):
            self.now = step + 1
            return super().__call__(batches, step=step, **options)

    before = [signal.getsignal(number) for number in preemption.SIGNALS]
    stopped = None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(assembly, "TrainStep", Signalled)
        try:
            run(runtime, folder)
        except Stopped as error:
            stopped = (str(error), error.signals)
    return stopped, [signal.getsignal(number) for number in preemption.SIGNALS] == before


def steps_of(folder):
    return [row["step"] for row in read_rows(folder / "run", "train")]


def stored(folder):
    return [entry.step for entry in listed(folder / "run" / "checkpoints")]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """Digests of all tensors after eight steps on two ranks that nothing was sent to."""
    folder = tmp_path_factory.mktemp("undisturbed")
    run_ranks(run, 2, folder)
    return digests(folder / "run", STEPS)


@pytest.mark.parametrize("number", [SIGINT, SIGTERM, SIGUSR1])
@pytest.mark.parametrize("rank", [0, 1])
def test_all_ranks_stop_at_the_end_of_the_next_step_and_go_on_as_if_they_had_not(tmp_path, undisturbed, rank, number):
    name = signal.Signals(number).name
    # The wishes of a step are collected as it begins: what comes within step 3 travels with the vote of step 4.
    found = run_ranks(signalled, 2, tmp_path, [(rank, 3, number)])
    message = f"{name} at step 4 of {STEPS}; the same command goes on from the checkpoint of step 4"
    assert found == [((message, (name,)), True)] * 2
    assert steps_of(tmp_path) == [1, 2, 3, 4]
    assert stored(tmp_path) == [4]
    checkpoint = open_checkpoint(tmp_path / "run" / "checkpoints" / "step-00000004")
    assert (checkpoint.document(STATE)["step"], checkpoint.document(STATE)["samples"]) == (4, 4 * 2 * 8)
    status = read_status(tmp_path / "run")
    assert (status["state"], status["step"], status["steps"]) == ("stopped", 4, STEPS)
    assert name in status["why"]
    run_ranks(run, 2, tmp_path)
    assert digests(tmp_path / "run", STEPS) == undisturbed
    assert steps_of(tmp_path) == list(range(1, STEPS + 1))
    assert read_status(tmp_path / "run")["state"] == "finished"


def test_what_each_rank_was_sent_is_told(tmp_path):
    found = run_ranks(signalled, 2, tmp_path, [(0, 3, SIGTERM), (1, 3, SIGUSR1)])
    assert [stopped[1] for stopped, _ in found] == [("SIGTERM", "SIGUSR1")] * 2
    assert stored(tmp_path) == [4]


def test_the_same_signal_twice_within_a_moment_is_one_request(tmp_path):
    found = run_ranks(signalled, 2, tmp_path, [(1, 3, SIGTERM), (1, 3, SIGTERM)])
    assert [stopped[1] for stopped, _ in found] == [("SIGTERM",)] * 2
    assert stored(tmp_path) == [4]


@pytest.mark.parametrize("number", [SIGTERM, SIGUSR1])
def test_the_same_signal_later_ends_the_process_at_once(tmp_path, monkeypatch, number):
    monkeypatch.setattr(preemption, "ECHO_S", 0.05)
    with pytest.raises(RuntimeError, match=f"ended without a result, exit code {128 + number}"):
        run_ranks(signalled, 1, tmp_path, [(0, 3, number), (0, 3, number)], 0.1)
    assert stored(tmp_path) == []


def test_the_end_of_a_job_after_its_warning_is_no_second_request(tmp_path, monkeypatch):
    monkeypatch.setattr(preemption, "ECHO_S", 0.05)
    found = run_ranks(signalled, 2, tmp_path, [(0, 3, SIGUSR1), (0, 3, SIGTERM)], 0.1)
    assert [stopped[1] for stopped, _ in found] == [("SIGUSR1",)] * 2
    assert stored(tmp_path) == [4]


def test_a_stop_that_comes_with_the_last_step_leaves_a_finished_run(tmp_path, undisturbed):
    found = run_ranks(signalled, 2, tmp_path, [(1, STEPS - 1, SIGTERM)])
    assert found == [(None, True)] * 2
    assert read_status(tmp_path / "run")["state"] == "finished"
    assert digests(tmp_path / "run", STEPS) == undisturbed
