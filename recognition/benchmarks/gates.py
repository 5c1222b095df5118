"""What a change must not cost: figures with a bound each, measured in one run. `launch/bench.py gates` prints them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from recognition.benchmarks import backbone
from recognition.benchmarks.clock import Timing
from recognition.benchmarks.head import (
    DENSE,
    DENSE_FUSED,
    label,
    observed,
    require_memory,
    timed,
    worst,
)
from recognition.benchmarks.lazy import lazy_difference
from recognition.benchmarks.sampling import DRAWN, SORTED, timed_sampling
from recognition.benchmarks.settings import Settings
from recognition.benchmarks.sides import HeadCase, streamed_side
from recognition.benchmarks.step import BASELINE, StepCase, host_reads_of, timed_steps
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

    @property
    def passed(self) -> bool:
        """False for a figure that is no number, too."""
        return self.figure >= self.bound if self.needs == AT_LEAST else self.figure <= self.bound

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
    step: StepCase = field(default_factory=StepCase)
    small_step: StepCase = field(default_factory=lambda: StepCase("mbf_tiny", 8, 100, image_size=32))

    def head(self, num_classes: int, sample_rate: float = 1.0, **options: Any) -> HeadCase:
        """A head at these sizes."""
        return HeadCase(num_classes, sample_rate, self.batch, self.embedding_size, **options)


def softmax_gates(sizes: Sizes, settings: Settings) -> list[Gate]:
    """The full softmax step, SGD included."""
    bounds = {"fp32": 2.8, "bf16": 4.2}
    cases = [sizes.head(sizes.classes, operands=operands) for operands in bounds]
    ratios = _ratios(cases, settings)
    return [
        Gate(f"full softmax step, {case.operands} operands, C={sizes.classes:,}", *ratios[label(case)](bound))
        for case, bound in zip(cases, bounds.values())
    ]


def memory_gates(sizes: Sizes, settings: Settings) -> list[Gate]:
    """Peak memory above weights and momentum."""
    gates = []
    for mode, bound in {"recompute": 64, "keep": 600}.items():
        case = sizes.head(sizes.many_classes, mode=mode)
        require_memory(case.state_bytes, case.num_classes)
        peak = settings.apart(observed, case, streamed_side)[0].peak_bytes
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
        require_memory(case.state_bytes + case.dense_bytes, case.num_classes)
        ratio = _ratios([case], settings)[label(case)]
        gates.append(Gate(f"sampled step, rate {rate:g}, C={case.num_classes:,}", *ratio(bound)))
    return gates


def sampling_gates(sizes: Sizes, settings: Settings) -> list[Gate]:
    """Drawing the classes of a step and finding the labels among them."""
    gates = []
    for num_local, bound in zip(sizes.rows, (8.0, 3.0)):
        timings = settings.apart(timed_sampling, num_local, sizes.batch, settings)[0]
        ratio = timings[SORTED].figure(_device(settings)) / timings[DRAWN].figure(_device(settings))
        detail = f"{timings[SORTED].cpu_s * 1e3:.1f} -> {timings[DRAWN].cpu_s * 1e3:.1f} ms"
        gates.append(Gate(f"sampling and label remap, {num_local:,} rows", ratio, AT_LEAST, bound, "x", detail))
    return gates


def collective_gates(sizes: Sizes, settings: Settings) -> list[Gate]:
    """Collectives of a step, whatever the number of ranks."""
    gates = []
    for world in sizes.worlds:
        for objective, bound in {"arcface": 3, "curricularface": 4}.items():
            case = sizes.head(sizes.few_classes, ranks=world, objective=objective)
            seen = worst(settings.apart(observed, case, streamed_side, ranks=world))
            gates.append(Gate(f"collectives, {objective}, {world} ranks", seen.collectives, AT_MOST, bound))
    return gates


def host_read_gates(sizes: Sizes, settings: Settings) -> list[Gate]:
    """Reads that make the host wait for the device."""
    reads = {
        f"head, rate {rate:g}": settings.apart(observed, sizes.head(sizes.few_classes, rate), streamed_side)[
            0
        ].host_reads
        for rate in (1.0, 0.1)
    }
    reads["whole training step"] = settings.apart(host_reads_of, sizes.small_step)[0]
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
        ways = (backbone.STOCK, backbone.GATED_WAY)
        timings = settings.apart(backbone.timed_ways, network, batch, ways, settings, sizes.image_size)[0]
        one, other = (timings[way].figure(_device(settings)) for way in ways)
        detail = f"{batch / one:.2f} -> {batch / other:.2f} images/s"
        gates.append(Gate(f"{network} forward and backward, {ways[1]}", one / other, AT_LEAST, bound, "x", detail))
    return gates


def step_gates(sizes: Sizes, settings: Settings) -> list[Gate]:
    """The whole training step at equal precision."""
    case = sizes.step
    timings = settings.apart(timed_steps, [case], settings)[0]
    walls = settings.apart(timed_steps, [case], _all_cores(settings))[0]
    name = f"whole step, {case.network}, B={case.batch}, C={case.num_classes:,}, {case.label}"
    ratio = timings[BASELINE].figure(_device(settings)) / timings[case.label].figure(_device(settings))
    return [Gate(name, ratio, AT_LEAST, 2.0, "x", _spelled(timings[BASELINE], timings[case.label], walls, case.label))]


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
}
HEAD_GROUPS = tuple(name for name in GROUPS if name not in ("backbone", "step"))
NAMES = ("all", "head", *GROUPS)


def bench_gates(settings: Settings, *, groups: Sequence[str], sizes: Sizes = Sizes()) -> list[dict[str, Any]]:
    """A row for each gate of the named groups; `head` and `all` stand for several."""
    for name in groups:
        if name not in NAMES:
            raise InputError(f"there is no group of gates {name!r}; there are {', '.join(NAMES)}")
    wanted = {"all": tuple(GROUPS), "head": HEAD_GROUPS}
    chosen = dict.fromkeys(group for name in groups for group in wanted.get(name, (name,)))
    return [gate.row(group) for group in chosen for gate in GROUPS[group](sizes, settings)]


def _ratios(cases: Sequence[HeadCase], settings: Settings) -> dict[str, Callable[[float], tuple]]:
    """For each case by its label: the fields of its gate after the name, given the bound."""
    timings = settings.apart(timed, cases, settings)[0]
    walls = settings.apart(timed, cases, _all_cores(settings))[0]

    def fields(name: str) -> Callable[[float], tuple]:
        ratio = timings[DENSE].figure(_device(settings)) / timings[name].figure(_device(settings))
        fused = timings[DENSE_FUSED].figure(_device(settings)) / timings[name].figure(_device(settings))
        detail = _spelled(timings[DENSE], timings[name], walls, name)
        return lambda bound: (ratio, AT_LEAST, bound, "x", f"{detail}; against fused SGD {fused:.2f}x")

    return {label(case): fields(label(case)) for case in cases}


def _spelled(baseline: Timing, ours: Timing, walls: Mapping[str, Timing], name: str) -> str:
    wall = walls[BASELINE].wall_s / walls[name].wall_s
    return f"{baseline.cpu_s:.3g} -> {ours.cpu_s:.3g} CPU s; wall, {usable_cores()} threads {wall:.2f}x"


def _all_cores(settings: Settings) -> Settings:
    return dataclasses.replace(settings, threads=usable_cores())


def _device(settings: Settings) -> torch.device:
    return torch.device(settings.device)


def _dense_mb(case: HeadCase) -> str:
    return f"{(case.dense_bytes - case.state_bytes) / 1e6:,.0f}"
