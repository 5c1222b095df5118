"""The head alone: time of a step, peak memory above weights and momentum, collectives, reads that wait for the device.

Everything is measured in processes that do nothing else. Ratios are of CPU time, baseline over streamed.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import torch

from recognition.benchmarks.clock import Side, Timing, interleaved
from recognition.benchmarks.counting import Counts
from recognition.benchmarks.memory import Peak, available_bytes
from recognition.benchmarks.settings import Settings
from recognition.benchmarks.sides import HeadCase, dense_head, dense_side, streamed_side
from recognition.errors import InputError
from recognition.runtime import Runtime

DENSE, DENSE_FUSED = "baseline", "baseline with fused SGD"
# Enough to load every kernel and library buffer that the large case uses.
_WARM_CLASSES = 4096
_MEMORY_STEPS = 3


class Observed(NamedTuple):
    """Of a rank's step: peak bytes above weights and momentum, collectives, reads that wait for the device by place."""

    peak_bytes: int
    collectives: int
    host_reads: Counter[str]


def bench_head(
    settings: Settings,
    *,
    identities: Sequence[int],
    rates: Sequence[float],
    ranks: Sequence[int],
    operands: Sequence[str],
    modes: Sequence[str],
    batch: int = 256,
    baseline: bool = True,
) -> list[dict[str, Any]]:
    """A row of figures for each combination; those of the baseline too where it fits into memory."""
    dense: dict[tuple[int, float, int], Observed] = {}
    device, rows = torch.device(settings.device), []
    for case in combined(identities, rates, ranks, operands, modes, batch=batch):
        require_memory(case.state_bytes * case.ranks, case.num_classes)
        against = baseline and fits(case)
        timings = slowest(settings.apart(timed, [case], settings, against, ranks=case.ranks))
        ours = timings[label(case)]
        if against:
            key = (case.num_classes, case.sample_rate, case.ranks)
            if key not in dense:
                dense[key] = worst(settings.apart(observed, case, dense_side, ranks=case.ranks))
                rows.append(row(replace(case, operands="fp32", mode=DENSE), timings[DENSE], dense[key], 1.0))
        seen = worst(settings.apart(observed, case, streamed_side, ranks=case.ranks))
        ratio = timings[DENSE].figure(device) / ours.figure(device) if against else None
        rows.append(row(case, ours, seen, ratio))
    return rows


def combined(
    identities: Sequence[int],
    rates: Sequence[float],
    ranks: Sequence[int],
    operands: Sequence[str],
    modes: Sequence[str],
    *,
    batch: int,
) -> list[HeadCase]:
    """Every combination; InputError for ranks that cannot share the batch."""
    for world in ranks:
        if batch % world:
            raise InputError(f"--batch {batch} cannot be shared equally by {world} ranks")
    return [
        HeadCase(num_classes, rate, batch, ranks=world, operands=precision, mode=mode)
        for num_classes, rate, world, precision, mode in itertools.product(identities, rates, ranks, operands, modes)
    ]


def timed(
    runtime: Runtime, cases: Sequence[HeadCase], settings: Settings, baseline: bool = True, threads: int | None = None
) -> dict[str, Timing]:
    """Timings by `label` of streamed cases that differ in how they compute, beside the baseline with either SGD."""
    sides: dict[str, Side] = {}
    if baseline:
        head = dense_head(cases[0], runtime)
        sides[DENSE] = dense_side(cases[0], runtime, head)
        sides[DENSE_FUSED] = dense_side(cases[0], runtime, head, fused=True)
    sides |= {label(case): streamed_side(case, runtime) for case in cases}
    return interleaved(sides, repeats=settings.repeats, threads=threads or settings.threads, device=runtime.device)


def observed(runtime: Runtime, case: HeadCase, make: Callable[[HeadCase, Runtime], Side]) -> Observed:
    """What a head's steps hold and ask of others, in a process that has done nothing else.

    Counted is a later step than the first, which may still set something up.
    """
    make(replace(case, num_classes=min(case.num_classes, _WARM_CLASSES * runtime.world)), runtime)(0)
    peak = Peak(runtime.device)
    step = make(case, runtime)
    peak.restart()
    for number in range(_MEMORY_STEPS):
        step(number)
    peak_bytes = peak.grown() - case.state_bytes
    with Counts() as counts:
        step(_MEMORY_STEPS)
    return Observed(peak_bytes, counts.collectives.total(), counts.host_reads)


def label(case: HeadCase) -> str:
    """How a streamed case computes."""
    return f"{case.operands} {case.mode} {case.sample_rate:g}"


def fits(case: HeadCase) -> bool:
    """Whether baseline and streamed head have room side by side in what memory there is."""
    return case.ranks * (case.dense_bytes + case.state_bytes) < available_bytes()


def require_memory(wanted: int, identities: int) -> None:
    """InputError where the machine has less than `wanted` bytes to give."""
    free = available_bytes()
    if wanted > free:
        raise InputError(
            f"{identities:,} identities need {wanted / 1e9:.1f} GB of memory here, of which {free / 1e9:.1f} GB are "
            f"free; take fewer, or put the centres on disk: `mmap`"
        )


def slowest(by_rank: Sequence[dict[str, Timing]]) -> dict[str, Timing]:
    """The longest time of any rank, by side."""
    return {name: Timing(*map(max, zip(*(timings[name] for timings in by_rank)))) for name in by_rank[0]}


def worst(by_rank: Sequence[Observed]) -> Observed:
    """The highest figures of any rank."""
    most_reads = max((rank.host_reads for rank in by_rank), key=Counter.total)
    return Observed(max(r.peak_bytes for r in by_rank), max(r.collectives for r in by_rank), most_reads)


def row(case: HeadCase, timing: Timing, seen: Observed, ratio: float | None) -> dict[str, Any]:
    """The columns of one head."""
    setting = {"identities": case.num_classes, "rate": case.sample_rate, "ranks": case.ranks}
    setting |= {"operands": case.operands, "mode": case.mode}
    figures = {"CPU s": timing.cpu_s, "wall s": timing.wall_s, "x": ratio, "MB above state": seen.peak_bytes / 1e6}
    return setting | figures | {"collectives": seen.collectives, "host reads": seen.host_reads.total()}
