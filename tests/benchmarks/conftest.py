"""Benchmarks in the test's own process, at sizes where nothing takes time."""

from __future__ import annotations

import dataclasses

import pytest

from recognition.benchmarks import gates
from recognition.benchmarks.gates import Sizes
from recognition.benchmarks.settings import Settings
from recognition.benchmarks.step import StepCase
from recognition.runtime import Runtime


@dataclasses.dataclass(frozen=True)
class Here(Settings):
    """One rank, not in a process of its own."""

    def apart(self, function, *args, ranks=1):
        assert ranks == 1
        return [function(Runtime(), *args)]


SMALL_STEP = StepCase("mbf_tiny", 4, 20, image_size=32)


@pytest.fixture
def here() -> Here:
    return Here(repeats=1)


@pytest.fixture
def tiny(monkeypatch) -> Sizes:
    monkeypatch.setattr(gates, "usable_cores", lambda: 1)
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
        step=SMALL_STEP,
        small_step=SMALL_STEP,
    )
