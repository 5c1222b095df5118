"""Centres that are larger than memory: a fixed number of sampled classes, any number of identities.

The classes of a step are drawn from all, their centres and momentum read from a memory-mapped sparse file and written
back. A few steps are taken in turn, over and over: in the first round their rows are made, afterwards they are there.
What was written may still be in the kernel's cache of the file: that is memory of the machine, not of the process, and
a table much larger than it waits for the disk.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from recognition.benchmarks.clock import Timing, least, timed_step
from recognition.benchmarks.memory import peak_resident_bytes, reset_peak
from recognition.benchmarks.settings import Settings
from recognition.benchmarks.sides import HeadCase, streamed_step
from recognition.errors import InputError
from recognition.runtime import Runtime

IDENTITIES = (100_000, 1_000_000, 10_000_000, 20_000_000)
SAMPLED = 20_000
RESIDENT_LIMIT_BYTES = 6_000_000_000
# Different draws: their rows are more than the process keeps of the file, so that every step brings its own in again.
_DRAWS = 4
_SLACK_BYTES = 1_000_000_000


def bench_mapped(
    settings: Settings,
    *,
    identities: Sequence[int],
    folder: Path,
    sampled: int = SAMPLED,
    batch: int = 256,
    embedding_size: int = 512,
) -> list[dict[str, Any]]:
    """A row for each number of identities; the files are made below `folder` and removed."""
    rows = []
    for num_classes in identities:
        rate = min(1.0, (sampled + 0.5) / num_classes)
        require_disk(folder, HeadCase(num_classes, rate, batch, embedding_size))
        with tempfile.TemporaryDirectory(dir=folder, prefix="centers-") as scratch:
            case = HeadCase(num_classes, rate, batch, embedding_size, centers=f"sparse:{scratch}/table")
            first, later, resident = settings.apart(timed_mapped, case, settings)[0]
            on_disk = sum(file.stat().st_blocks * 512 for file in Path(scratch).rglob("*"))
        row = {"identities": num_classes, "sampled": int(num_classes * rate), "state GB": case.state_bytes / 1e9}
        row |= {"first touch wall s": first.wall_s, "CPU s": later.cpu_s, "wall s": later.wall_s}
        rows.append(row | {"resident GB": resident / 1e9, "on disk GB": on_disk / 1e9})
        rows[-1]["passed"] = resident <= RESIDENT_LIMIT_BYTES
    return rows


def timed_mapped(runtime: Runtime, case: HeadCase, settings: Settings) -> tuple[Timing, Timing, int]:
    """The quickest step on rows new to the table, the quickest on rows that it has, and peak resident bytes."""
    reset_peak()
    take = partial(timed_step, streamed_step(case, runtime), threads=settings.threads, device=runtime.device)
    first = least(take(number) for number in range(_DRAWS))
    later = least(take(number % _DRAWS) for number in range(_DRAWS * settings.repeats))
    return first, later, peak_resident_bytes()


def require_disk(folder: Path, case: HeadCase) -> None:
    """InputError where `folder` has no room for the rows that the steps touch."""
    if not folder.is_dir():
        raise InputError(f"{folder} is no folder; name one on the disk to use with --folder")
    touched = min(case.num_classes, _DRAWS * (int(case.num_classes * case.sample_rate) + case.batch))
    wanted = touched * case.state_bytes // case.num_classes + _SLACK_BYTES
    free = shutil.disk_usage(folder).free
    if free < wanted:
        raise InputError(
            f"{folder} has {free / 1e9:.1f} GB free; {case.num_classes:,} identities need {wanted / 1e9:.1f} GB: "
            f"name another disk with --folder, or lower --sampled"
        )
