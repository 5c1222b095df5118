"""Memory that torch's CPU allocator really handed out while a piece of code ran, read off its profiler."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch.profiler import ProfilerActivity, profile


@dataclass(frozen=True)
class Measured:
    """Bytes above those before the run: at most, and still held at its end."""

    peak_bytes: int
    held_bytes: int


def measure(run: Callable[[], object]) -> tuple[Measured, object]:
    """What `run` allocated, and what it returned (which keeps its memory)."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as prof:
        result = run()
    events = [event for event in prof.profiler.kineto_results.events() if event.name() == "[memory]"]
    held = peak = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        held += event.nbytes()
        peak = max(peak, held)
    assert events
    return Measured(peak, held), result
