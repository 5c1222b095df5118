"""What a change must not cost: figures with a bound each, measured in one run. `launch/bench.py gates` prints them."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from recognition.benchmarks import backbone, data, data_index, step, verification
from recognition.benchmarks.clock import Timing
from recognition.benchmarks.data_set import opened_case
from recognition.benchmarks.head import needed_bytes, observed, require_memory, worst
from recognition.benchmarks.lazy import lazy_difference
from recognition.benchmarks.sampling import DRAWN, DRAWS, MORE_REPEATS, SORTED, sampling_sides
from recognition.benchmarks.settings import Settings
from recognition.benchmarks.sides import DENSE, DENSE_AT_BEST, HeadCase, label, sides_of, streamed_step
from recognition.benchmarks.step import StepCase
from recognition.errors import InputError
from recognition.runtime import usable_cores

AT_LEAST, AT_MOST = ">=", "<="


@dataclass(frozen=True)
class Gate:
    """A figure and the bound that it must keep."""

    name: str
    figure: float
    needs: str
    bound: float
    unit: str = ""
    detail: str = ""
    # Below this nothing was measured at all.
    least: float = 0.0

    @property
    def passed(self) -> bool:
        """False for a figure that is no number, too, and for one below what was there to be measured."""
        return self.figure >= self.bound if self.needs == AT_LEAST else self.least <= self.figure <= self.bound

    def row(self, group: str) -> dict[str, Any]:
        """The columns of the table."""
        row = {"group": group, "gate": self.name, "figure": self.figure, "needs": self.needs, "bound": self.bound}
        return row | {"unit": self.unit, "passed": self.passed, "detail": self.detail}


@dataclass(frozen=True)
class Sizes:
    """What the gates are measured at."""

    batch: int = 256
    embedding_size: int = 512
    classes: int = 100_000
    many_classes: int = 1_000_000
    few_classes: int = 2_000
    rows: tuple[int, ...] = (1_000_000, 10_000_000)
    worlds: tuple[int, ...] = (2, 4)
    lazy_steps: int = 200
    networks: tuple[str, ...] = ("r50", "mbf")
    image_size: int = 112
    images: int = data.IMAGES
    images_at_once: int = data.BATCH
    records: int = data_index.RECORDS
    pairs: int = verification.PAIRS
    compared: int = verification.IMAGES
    step: StepCase = field(default_factory=StepCase)
    small_step: StepCase = field(default_factory=lambda: StepCase("mbf_tiny", 8, 100, image_size=32))

    def head(self, num_classes: int, sample_rate: float = 1.0, **options: Any) -> HeadCase:
        """A head at these sizes."""
        return HeadCase(num_classes, sample_rate, self.batch, self.embedding_size, **options)


def softmax_gates(sizes: Sizes, settings: Settings) -> list[Gate]:
    """The full softmax step, SGD included."""
    bounds = {"fp32": 2.8, "bf16": 4.2}
    cases = [sizes.head(sizes.classes, operands=operands) for operands in bounds]
    timings, walls = settings.timings_by_threads(sides_of(cases), (settings.threads, usable_cores()))
    return [
        Gate(
            f"full softmax step, {case.operands} operands, C={sizes.classes:,}",
            *_times(bound, timings, label(case), settings, walls),
        )
        for case, bound in zip(cases, bounds.values())
    ]


def memory_gates(sizes: Sizes, settings: Settings) -> list[Gate]:
    """Peak memory above weights and momentum."""
    # Memory does not depend on how many threads fill it.
    settings = dataclasses.replace(settings, threads=usable_cores())
    gates = []
    for mode, bound in {"recompute": 64, "keep": 600}.items():
        case = sizes.head(sizes.many_classes, mode=mode)
        require_memory(case.state_bytes, case.num_classes)
        peak = settings.apart(observed, case, streamed_step)[0].peak_bytes
        detail = f"weights and momentum {case.state_bytes / 1e6:.0f} MB; the baseline's estimate {_dense_mb(case)} MB"
        gates.append(
            Gate(f"memory above state, {mode}, C={case.num_classes:,}", peak / 1e6, AT_MOST, bound, "MB", detail)
        )
    return gates


def sampled_gates(sizes: Sizes, settings: Settings) -> list[Gate]:
    """The step with sampled negatives."""
    gates = []
    for rate, bound in {0.1: 3.0, 0.02: 9.0}.items():
        case = sizes.head(sizes.many_classes, rate)
        require_memory(needed_bytes(case), case.num_classes)
        timings = settings.timings(sides_of([case]))
        name = f"sampled step, rate {rate:g}, C={case.num_classes:,}"
        gates.append(Gate(name, *_times(bound, timings, label(case), settings)))
    return gates


def sampling_gates(sizes: Sizes, settings: Settings) -> list[Gate]:
    """Drawing the classes of a step and finding the labels among them."""
    gates = []
    for num_local, bound in zip(sizes.rows, (8.0, 3.0)):
        sides = sampling_sides(num_local, sizes.batch)
        timings = settings.timings(sides, repeats=MORE_REPEATS * settings.repeats)
        ratio = settings.ratio(timings, SORTED, DRAWN)
        detail = " -> ".join(f"{timings[side].cpu_s / DRAWS * 1e3:.1f}" for side in (SORTED, DRAWN)) + " ms"
        gates.append(Gate(f"sampling and label remap, {num_local:,} rows", ratio, AT_LEAST, bound, "x", detail))
    return gates


def collective_gates(sizes: Sizes, settings: Settings) -> list[Gate]:
    """Collectives of a step, whatever the number of ranks."""
    gates = []
    for world in sizes.worlds:
        for objective, bound in {"arcface": 3, "curricularface": 4}.items():
            case = sizes.head(sizes.few_classes, ranks=world, objective=objective)
            seen = worst(settings.apart(observed, case, streamed_step, ranks=world))
            gates.append(
                Gate(
                    f"collectives, {objective}, {world} ranks",
                    seen.collectives,
                    AT_MOST,
                    bound,
                    least=1 if world > 1 else 0,
                )
            )
    return gates


def host_read_gates(sizes: Sizes, settings: Settings) -> list[Gate]:
    """Reads that make the host wait for the device."""
    reads = {}
    for rate in (1.0, 0.1):
        (seen,) = settings.apart(observed, sizes.head(sizes.few_classes, rate), streamed_step)
        reads[f"head, rate {rate:g}"] = seen.host_reads
    reads["whole training step"] = settings.apart(step.host_reads_of, sizes.small_step)[0]
    return [
        Gate(f"host synchronisations, {what}", found.total(), AT_MOST, 0, detail=", ".join(found))
        for what, found in reads.items()
    ]


def lazy_gates(sizes: Sizes, settings: Settings) -> list[Gate]:
    """Rows caught up when they are touched, against a dense optimizer that walks all of them in every step."""
    difference = settings.apart(lazy_difference, sizes.lazy_steps)[0]
    name = f"exact-lazy against dense SGD, {sizes.lazy_steps} steps"
    return [Gate(name, difference, AT_MOST, 1e-4, "", "relative difference of weights, learning rate by a schedule")]


def backbone_gates(sizes: Sizes, settings: Settings) -> list[Gate]:
    """Forward and backward of the backbone."""
    gates = []
    for network, bound in zip(sizes.networks, (1.9, 1.45)):
        batch = backbone.BATCH.get(network, backbone.DEFAULT_BATCH)
        stock, best, way = backbone.STOCK, backbone.STOCK_AT_BEST, backbone.GATED_WAY
        timings = settings.timings(backbone.ways_of(network, batch, (stock, best, way), sizes.image_size))
        name = f"{network} forward and backward, {way}"
        gates.append(Gate(name, *_times(bound, timings, way, settings, baselines=(stock, best))))
    return gates


def step_gates(sizes: Sizes, settings: Settings) -> list[Gate]:
    """The whole training step at equal precision."""
    case = sizes.step
    timings, walls = settings.timings_by_threads(step.sides_of([case]), (settings.threads, usable_cores()))
    name = f"whole step, {case.network}, B={case.batch}, C={case.num_classes:,}, {case.label}"
    return [Gate(name, *_times(2.0, timings, case.label, settings, walls))]


def data_gates(sizes: Sizes, settings: Settings) -> list[Gate]:
    """Reading images, with as many workers as there are cores on both sides, and opening a large set."""
    workers = usable_cores()
    names = stock, best, ours, decoder = *data.BASELINES, data.loader_name(workers), data.DECODER
    with opened_case(None, images=sizes.images, batch=sizes.images_at_once, image_size=sizes.image_size) as case:
        all_ways = data.ways_of(case, [workers])
        ways = {name: all_ways[name] for name in names}
        timings = settings.timings({name: way.side for name, way in ways.items()})
        (num_bytes,) = settings.apart(data.bytes_of_pictures, [ways[name].open for name in (stock, ours)])
    rates = {name: case.images / timing.wall_s for name, timing in timings.items()}
    used_us = {name: data.cpu_us(case, timing) for name, timing in timings.items()}
    detail = f"{rates[stock]:.0f} -> {rates[ours]:.0f} images/s; "
    detail += f"against the baseline at its best {rates[ours] / rates[best]:.2f}x"
    gates = [
        Gate(f"images/s, {workers} workers", rates[ours] / rates[stock], AT_LEAST, 5.0, "x", detail),
        Gate(
            "CPU time of an image",
            used_us[ours],
            AT_MOST,
            # On a core whose decoder alone needs more than 80 us, the loader may add a quarter to that.
            max(100.0, 1.25 * used_us[decoder]),
            "us",
            f"decoder alone {used_us[decoder]:.0f} us; the baseline {used_us[stock]:.0f} us",
        ),
        Gate("bytes to the device", num_bytes[1] / num_bytes[0], AT_MOST, 0.25, "x", least=0.25),
    ]
    with data_index.sparse_set(Path(tempfile.gettempdir()), sizes.records) as rec:
        first, cached = data_index.opened_twice(settings, rec)
    name = f"index of {sizes.records:,} records"
    return gates + [
        Gate(f"{name}, cached", cached.timing.wall_s, AT_MOST, 1.0, "s"),
        Gate(f"{name}, memory", cached.peak_bytes / 1e6, AT_MOST, 350, "MB", _in_use(cached)),
        Gate(f"{name}, first opening", first.timing.cpu_s, AT_MOST, 30, "s of CPU time", _at_first(first)),
    ]


def verification_gates(sizes: Sizes, settings: Settings) -> list[Gate]:
    """The figures of a set of pairs, and everyone against everyone."""
    stock, ours = verification.THRESHOLD_BY_THRESHOLD, verification.COUNTED
    timings = settings.timings(verification.metric_sides(sizes.pairs))
    detail = f"{timings[stock].cpu_s:.3g} -> {timings[ours].cpu_s:.3g} CPU s"
    # On all cores, as anyone would run it.
    seen = dataclasses.replace(settings, threads=usable_cores()).apart(verification.compared, sizes.compared)[0]
    name = f"everyone against everyone, {sizes.compared:,} images"
    pace = f"{usable_cores()} threads; {seen.pairs / seen.wall_s / 1e6:.0f} M pairs/s"
    rows_mb = sizes.compared * verification.DIM * 4 / 1e6
    return [
        Gate(f"figures of {sizes.pairs:,} pairs", settings.ratio(timings, stock, ours), AT_LEAST, 100, "x", detail),
        Gate(name, seen.wall_s, AT_MOST, 180, "s", pace),
        Gate(
            f"{name}, memory",
            seen.peak_bytes / 1e6,
            AT_MOST,
            # The embeddings once more, in another order; the rest does not grow with their number.
            2 * rows_mb + 100,
            "MB",
            f"above the embeddings' own {rows_mb:.0f} MB",
        ),
    ]


GROUPS: dict[str, Callable[[Sizes, Settings], list[Gate]]] = {
    "softmax": softmax_gates,
    "memory": memory_gates,
    "sampled": sampled_gates,
    "sampling": sampling_gates,
    "collectives": collective_gates,
    "syncs": host_read_gates,
    "lazy": lazy_gates,
    "backbone": backbone_gates,
    "step": step_gates,
    "data": data_gates,
    "verification": verification_gates,
}
HEAD_GROUPS = tuple(name for name in GROUPS if name not in ("backbone", "step", "data", "verification"))
NAMES = ("all", "head", *GROUPS)


def bench_gates(settings: Settings, *, groups: Sequence[str], sizes: Sizes = Sizes()) -> list[dict[str, Any]]:
    """A row for each gate of the named groups; `head` and `all` stand for several."""
    for name in groups:
        if name not in NAMES:
            raise InputError(f"there is no group of gates {name!r}; there are {', '.join(NAMES)}")
    wanted = {"all": tuple(GROUPS), "head": HEAD_GROUPS}
    chosen = dict.fromkeys(group for name in groups for group in wanted.get(name, (name,)))
    return [gate.row(group) for group in chosen for gate in GROUPS[group](sizes, settings)]


def _times(
    bound: float,
    timings: Mapping[str, Timing],
    side: str,
    settings: Settings,
    walls: Mapping[str, Timing] | None = None,
    *,
    baselines: tuple[str, str] = (DENSE, DENSE_AT_BEST),
) -> tuple[float, str, float, str, str]:
    """The fields of a gate after its name: how many times as long the baseline takes, and what else was seen."""
    stock, best = baselines
    detail = f"{timings[stock].cpu_s:.3g} -> {timings[side].cpu_s:.3g} CPU s"
    detail += f"; against the baseline at its best {settings.ratio(timings, best, side):.2f}x"
    if walls is not None:
        detail += f"; wall, {usable_cores()} threads {walls[stock].wall_s / walls[side].wall_s:.2f}x"
    return settings.ratio(timings, stock, side), AT_LEAST, bound, "x", detail


def _in_use(cached: data_index.Opened) -> str:
    return f"{cached.used_bytes / 1e6:.0f} MB once every record was looked up, shared by all ranks"


def _at_first(first: data_index.Opened) -> str:
    return f"on the wall {first.timing.wall_s:.1f} s, peak {first.peak_bytes / 1e6:.0f} MB"


def _dense_mb(case: HeadCase) -> str:
    return f"{(case.dense_bytes - case.state_bytes) / 1e6:,.0f}"
