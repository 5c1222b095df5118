"""Rows of progress on a clock that the test moves."""

import pytest
import torch

from recognition.data.loader import Batch
from recognition.log import LOG
from recognition.runtime import Runtime
from recognition.training.plan import Plan
from recognition.training.progress import Progress, Throughput, duration, tell_skipped
from recognition.training.step import StepOutput
from recognition.training.stopwatch import Stopwatch
from recognition.training.stragglers import StragglerReport
from recognition.training.vote import NOTHING, Agreed
from tests.training.linear_backbone import config

OUTPUT = StepOutput(torch.tensor(2.5), torch.tensor(0.25), torch.tensor(7.0))


class Rows(list):
    """Stands for MetricsWriter and keeps what it is given."""

    def write(self, kind, step, **values):
        self.append({"kind": kind, "step": step, **values})


@pytest.fixture
def clock(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(StragglerReport, "read", lambda self, runtime: None)  # there are no other ranks to ask
    monkeypatch.setattr("recognition.training.progress.time.perf_counter", lambda: now[0])
    return now


def plan(steps):
    return Plan(0, steps, steps, 0, samples=0, samples_a_step=16)


def four(wait_s):
    return Batch(torch.zeros(4, 1, 1, 3), torch.zeros(4), torch.zeros(4), torch.zeros(4), wait_s)


def run_steps(progress, clock, steps, seconds=2.0):
    """Take steps of 2 batches of 4 on each of 2 ranks, 16 images together, waiting 0.5 s for them."""
    for step in steps:
        clock[0] += seconds
        progress.after_step(
            step, 0.1 * (step + 1), OUTPUT, [four(0.2), four(0.3)], NOTHING, Stopwatch(torch.device("cpu"))
        )


def test_throughput_counts_images_and_waiting(clock):
    throughput = Throughput(started=100.0)
    throughput.add(64, 0.5)
    throughput.add(64, 0.5)
    clock[0] = 104.0
    assert throughput.read() == {"images_per_s": 32.0, "data_wait": 0.25}
    clock[0] = 105.0
    assert throughput.read() == {"images_per_s": 0.0, "data_wait": 0.0}


def test_rows_count_all_ranks_and_verification_is_kept_out(clock):
    rows = Rows()
    progress = Progress(config(frequent=3), Runtime(0, 2), rows, num_samples=40, plan=plan(8))
    progress.throughput.restart()  # its first window began on the clock of the machine
    run_steps(progress, clock, range(5))
    with progress.paused():
        clock[0] += 1000
    run_steps(progress, clock, (5, 6, 7), seconds=4.0)
    constant = {"kind": "train", "loss": 2.5, "grad_norm": 7.0, "target_cos": 0.25}
    # 16 images in 2 s, then in 4 s, so in the second row 48 in 8 s, of which 1.5 s were waited; step n begins with
    # image 16 * n, and an epoch has 40.
    assert rows == [
        {"step": 1, "epoch": 0, "lr": 0.1, "images_per_s": 8.0, "data_wait": 0.25, "eta_s": 7 * 2.0, **constant},
        {"step": 3, "epoch": 0, "lr": 0.1 * 3, "images_per_s": 8.0, "data_wait": 0.25, "eta_s": 5 * 2.0, **constant},
        {"step": 6, "epoch": 2, "lr": 0.1 * 6, "images_per_s": 6.0, "data_wait": 0.1875, "eta_s": 32 / 6, **constant},
        {"step": 8, "epoch": 2, "lr": 0.1 * 8, "images_per_s": 4.0, "data_wait": 0.125, "eta_s": 0.0, **constant},
    ]


@pytest.mark.parametrize(
    ("agreed", "level"), [(Agreed(True, False, False, is_bad=True), "WARNING"), (Agreed(True, False, False), "INFO")]
)
def test_a_search_for_the_scale_of_fp16_is_no_warning(caplog, agreed, level):
    caplog.set_level("INFO", logger=LOG.name)
    rows = Rows()
    tell_skipped(rows, 7, 2.5, agreed)
    assert rows == [{"kind": "skipped", "step": 7, "loss": 2.5}]
    assert [record.levelname for record in caplog.records] == [level]


def test_the_other_ranks_report_nothing(clock):
    rows = Rows()
    run_steps(Progress(config(frequent=1), Runtime(1, 2), rows, num_samples=40, plan=plan(3)), clock, range(3))
    assert rows == []


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (9.9, "9s"),
        (61, "1m01s"),
        (3600 * 5 + 120, "5h02m"),
        (86400 * 3 + 3600, "3d01h"),
        (60, "1m00s"),
        (3600, "1h00m"),
    ],
)
def test_durations_read_well(seconds, text):
    assert duration(seconds) == text
