"""The head alone: time of a step, peak memory above weights and momentum, collectives, reads that wait for the device.

Everything is measured in processes that do nothing else. Ratios are of CPU time, baseline over streamed.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from recognition.benchmarks.clock import Step, Timing
from recognition.benchmarks.counting import Counts
from recognition.benchmarks.memory import Peak, available_bytes
from recognition.benchmarks.settings import Settings
from recognition.benchmarks.sides import (
    DENSE,
    DENSE_AT_BEST,
    FLOAT_BYTES,
    HeadCase,
    dense_step,
    label,
    sides_of,
    streamed_step,
)
from recognition.errors import InputError
from recognition.runtime import Runtime

# Enough to load every kernel and library buffer that the large case uses.
_WARM_CLASSES = 4096


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
    rows = []
    for case in combined(identities, rates, ranks, operands, modes, batch=batch):
        require_memory(case.state_bytes * case.ranks, case.num_classes)
        against = baseline and fits(case)
        timings = settings.timings(sides_of([case], baseline=against), ranks=case.ranks)
        ratios: tuple[float | None, float | None] = (None, None)
        if against:
            key = (case.num_classes, case.sample_rate, case.ranks)
            if key not in dense:
                dense[key] = worst(settings.apart(observed, case, dense_step, ranks=case.ranks, keeps_memory=False))
                theirs = replace(case, operands="fp32", mode=DENSE)
                best = settings.ratio(timings, DENSE_AT_BEST, DENSE)
                rows.append(row(theirs, timings[DENSE], dense[key], (1.0, best)))
            ratios = tuple(settings.ratio(timings, side, label(case)) for side in (DENSE, DENSE_AT_BEST))
        seen = worst(settings.apart(observed, case, streamed_step, ranks=case.ranks))
        rows.append(row(case, timings[label(case)], seen, ratios))
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


def observed(runtime: Runtime, case: HeadCase, make: Callable[[HeadCase, Runtime], Step]) -> Observed:
    """What a head's steps hold and ask of others, in a process that has done nothing else.

    Memory is that of two steps, the first of which may still set something up; counted is the third, since counting
    takes memory itself.
    """
    # Whatever is loaded on first use is loaded here and counts as nobody's memory.
    make(replace(case, num_classes=min(case.num_classes, _WARM_CLASSES * runtime.world)), runtime)(0)
    peak = Peak(runtime.device)
    step = make(case, runtime)
    peak.restart()
    step(0)
    step(1)
    grown = peak.grown()
    with Counts() as counts:
        step(2)
    return Observed(grown - case.state_bytes, counts.collectives.total(), counts.host_reads)


def fits(case: HeadCase) -> bool:
    """Whether the sides have room beside each other in what memory there is."""
    return case.ranks * needed_bytes(case) < available_bytes()


def needed_bytes(case: HeadCase) -> int:
    """What the processes of `sides_of` hold together."""
    return 2 * case.dense_bytes + case.state_bytes + case.batch * int(case.num_classes * case.sample_rate) * FLOAT_BYTES


def require_memory(wanted: int, identities: int) -> None:
    """InputError where the machine has less than `wanted` bytes to give."""
    free = available_bytes()
    if wanted > free:
        raise InputError(
            f"{identities:,} identities need {wanted / 1e9:.1f} GB of memory here, of which {free / 1e9:.1f} GB are "
            f"free; take fewer, or put the centres on disk: `mmap`"
        )


def worst(by_rank: Sequence[Observed]) -> Observed:
    """The highest figures of any rank."""
    most_reads = max((rank.host_reads for rank in by_rank), key=Counter.total)
    return Observed(max(r.peak_bytes for r in by_rank), max(r.collectives for r in by_rank), most_reads)


def row(case: HeadCase, timing: Timing, seen: Observed, ratios: tuple[float | None, float | None]) -> dict[str, Any]:
    """The columns of one head."""
    setting = {"identities": case.num_classes, "rate": case.sample_rate, "ranks": case.ranks}
    setting |= {"operands": case.operands, "mode": case.mode}
    figures = {"CPU s": timing.cpu_s, "wall s": timing.wall_s, "x": ratios[0], "x of best": ratios[1]}
    figures["MB above state"] = seen.peak_bytes / 1e6
    return setting | figures | {"collectives": seen.collectives, "host reads": seen.host_reads.total()}
