"""Benchmarks in the test's own process, at sizes where nothing takes time."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from recognition.benchmarks import gates
from recognition.benchmarks.clock import in_turns, timed_step
from recognition.benchmarks.gates import Sizes
from recognition.benchmarks.settings import Settings
from recognition.benchmarks.step import StepCase
from recognition.data import record_index
from recognition.runtime import Runtime


@dataclasses.dataclass(frozen=True)
class Here(Settings):
    """One rank and all sides in this process."""

    def apart(self, function, *args, ranks=1, keeps_memory=True):
        assert ranks == 1
        return [function(Runtime(), *args)]

    def timings_by_threads(self, sides, threads, *, ranks=1, repeats=None):
        assert ranks == 1
        steps = {name: side.make(Runtime()) for name, side in sides.items()}

        def take(name, number):
            return [timed_step(steps[name], number, threads=1, device=torch.device("cpu"))]

        return [in_turns(take, sides, 1, 1) for _ in threads]


SMALL_STEP = StepCase("mbf_tiny", 4, 20, image_size=32)


@pytest.fixture
def here() -> Here:
    return Here(repeats=1)


@pytest.fixture
def tiny(monkeypatch) -> Sizes:
    monkeypatch.setattr(gates, "usable_cores", lambda: 1)
    monkeypatch.setattr(record_index, "CACHE_FROM", 1000)
    return Sizes(
        batch=8,
        embedding_size=16,
        classes=60,
        many_classes=80,
        few_classes=40,
        rows=(100, 200),
        worlds=(1,),
        lazy_steps=12,
        networks=("r_tiny", "mbf_tiny"),
        image_size=32,
        images=16,
        images_at_once=4,
        records=2000,
        pairs=100,
        compared=60,
        step=SMALL_STEP,
        small_step=SMALL_STEP,
    )
