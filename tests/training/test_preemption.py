"""Signals that ask for a stop: the first is noted, an echo of it is not a second one, a second one ends the process."""

import os
import signal
import sys
import time
from signal import SIGINT, SIGTERM, SIGUSR1

import pytest

from recognition.training import preemption
from recognition.training.preemption import StopRequest


def ends_with(*signals, apart_s=0.0):
    """Exit code of a process that gets these signals while it takes a step, 0 when it comes to the end of the step."""
    pid = os.fork()
    if pid == 0:
        preemption.ECHO_S = 0.05
        with StopRequest() as stop:
            for number in signals:
                os.kill(os.getpid(), number)
                time.sleep(apart_s)
        os._exit(0 if stop.name == signals[0].name else 99)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@pytest.mark.parametrize("number", [SIGINT, SIGTERM, SIGUSR1])
def test_the_first_signal_lets_the_step_end(number):
    assert ends_with(number) == 0


@pytest.mark.parametrize("number", [SIGINT, SIGTERM, SIGUSR1])
def test_the_same_once_more_ends_the_process_but_not_an_echo(number):
    assert ends_with(number, number) == 0
    assert ends_with(number, number, apart_s=0.1) == 128 + number


@pytest.mark.parametrize("apart_s", [0.0, 0.1])
def test_another_signal_does_not_take_the_checkpoint_away(apart_s):
    assert ends_with(SIGUSR1, SIGTERM, apart_s=apart_s) == 0
    assert ends_with(SIGINT, SIGTERM, apart_s=apart_s) == 0


def test_signals_mean_what_they_meant_once_the_run_is_over():
    before = [signal.getsignal(number) for number in preemption.SIGNALS]
    with StopRequest() as stop:
        assert signal.getsignal(SIGTERM) == stop._note
        assert not stop.is_set
    assert [signal.getsignal(number) for number in preemption.SIGNALS] == before


def test_a_console_that_cannot_be_written_does_not_keep_the_step_from_its_end(monkeypatch):
    with open("/dev/full", "w") as full, StopRequest() as stop:
        monkeypatch.setattr(sys, "__stderr__", full)
        os.kill(os.getpid(), SIGUSR1)
        assert stop.name == "SIGUSR1"
