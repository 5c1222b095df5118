"""Which setting to train with: what is asked for if it fits, and what to change if it does not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from recognition.errors import InputError
from recognition.planning.backbone_trace import BackboneTrace
from recognition.planning.machines import Machine
from recognition.planning.memory import Memory, backbone_of, keeps, memory_of
from recognition.planning.peers import DenseHead, peer_memory_of
from recognition.planning.setting import Setting
from recognition.planning.speed import speed_of

# Larger batches gain little speed, and change the training.
LARGEST_BATCH = 512
# Published runs lose nothing at these rates (An et al. 2022, arXiv:2203.15565: 0.1 to 0.3).
RATES = (1.0, 0.5, 0.3, 0.2, 0.1)
# A share of the memory that stays free: allocators leave gaps.
FREE_SHARE = 0.04
# The head may take this share of a step before fewer classes are worth while.
HEAD_SHARE = 1 / 3


@dataclass(frozen=True)
class Plan:
    """A setting with its memory on `machine`; `link` joins the ranks."""

    setting: Setting
    trace: BackboneTrace
    memory: Memory
    machine: Machine
    link: str

    @property
    def budget_bytes(self) -> int:
        """What the machine's memory leaves to training."""
        return round(self.machine.memory_bytes * (1 - FREE_SHARE))

    @property
    def short_bytes(self) -> int:
        """Bytes that are missing; 0 when it fits."""
        return max(0, self.memory.total_bytes - self.budget_bytes)


@dataclass(frozen=True)
class Advice:
    """The recommended setting (None: nothing fits), why, and single changes that help where the wish does not fit."""

    recommended: Plan | None
    reasons: list[str]
    options: list[str]


def plan(setting: Setting, machine: Machine, *, link: str) -> Plan:
    """Memory of `setting` on `machine`; InputError for what the machine cannot do."""
    if setting.centers == "host" and machine.is_gpu and setting.sample_rate == 1:
        raise InputError("centers='host' keeps the centres beside the GPU; that needs sample_rate below 1")
    if setting.centers == "mmap" and machine.is_gpu and setting.sample_rate == 1:
        raise InputError("centers='mmap' keeps the centres in a file; on a GPU that needs sample_rate below 1")
    trace = backbone_of(setting, gpu=machine.is_gpu)
    return Plan(setting, trace, memory_of(setting, trace, machine), machine, link)


def plan_peer(setting: Setting, machine: Machine, head: DenseHead, *, link: str) -> Plan:
    """Memory of `setting` with a head that materialises its logits."""
    # Its gradients are copied into buckets, so that a trace without any has them all.
    trace = backbone_of(replace(setting, ranks=1, gradient_acc=1), gpu=machine.is_gpu)
    return Plan(setting, trace, peer_memory_of(setting, trace, machine, head), machine, link)


def advise(wish: Plan, *, rates: Sequence[float] = ()) -> Advice:
    """The recommended setting for the wish's run; `rates` are the sample rates to choose from, else the wish's."""
    candidates = _candidates(wish, tuple(rates) or (wish.setting.sample_rate,))
    recommended, reasons = next(candidates, (None, []))
    options = list(_options(wish)) if wish.short_bytes else []
    return Advice(recommended, reasons, options)


def largest_batch(setting: Setting, machine: Machine, *, link: str, limit: int = LARGEST_BATCH) -> Plan | None:
    """The setting with the largest batch per rank, a multiple of 8 up to `limit`, that fits; None when 8 images do not.

    Memory follows the batch in a straight line, but for its smallest values: two traces say where to look.
    """
    probe = setting.batch
    traces = [backbone_of(replace(setting, batch=b), gpu=machine.is_gpu) for b in (probe, _second_probe(probe))]
    # Memory grows with the batch: bisect over multiples of 8.
    fitting, low, high = None, 1, limit // 8
    while low <= high:
        middle = (low + high) // 2
        found = _interpolated(replace(setting, batch=8 * middle), machine, traces, link=link)
        if found.short_bytes:
            high = middle - 1
        else:
            fitting, low = found, middle + 1
    return fitting


def _second_probe(batch: int) -> int:
    return batch // 2 if batch >= 32 else batch + 16


def _interpolated(setting: Setting, machine: Machine, traces: list[BackboneTrace], *, link: str) -> Plan:
    """The plan of `setting` from traces of its backbone at two other batches."""
    first, second = traces
    step = (setting.batch - first.batch) / (second.batch - first.batch)
    values = {
        name: round(getattr(first, name) + step * (getattr(second, name) - getattr(first, name)))
        for name in ("input_bytes", "activations_bytes", "forward_peak_bytes", "backward_peak_bytes")
    }
    # A peak of gradients, not of activations, stays where it is when the batch shrinks.
    held = values["input_bytes"] + values["activations_bytes"]
    values["forward_peak_bytes"] = max(held, values["forward_peak_bytes"])
    values["backward_peak_bytes"] = max(held, values["backward_peak_bytes"])
    trace = replace(first, batch=setting.batch, **values)
    return Plan(setting, trace, memory_of(setting, trace, machine), machine, link)


def _candidates(wish: Plan, rates: Sequence[float]) -> Iterator[tuple[Plan, list[str]]]:
    """Settings that fit, best first, with the reason for each choice."""
    for centers in _places(wish):
        for rate in rates:
            if centers != "memory" and rate == 1 and wish.machine.is_gpu:
                continue
            setting = replace(wish.setting, centers=centers, sample_rate=rate, mode="keep")
            found = largest_batch(setting, wish.machine, link=wish.link)
            recomputed = largest_batch(replace(setting, mode="recompute"), wish.machine, link=wish.link)
            best, why = _faster(found, recomputed)
            if best is None:
                continue
            head_share = _head_share(best)
            if head_share > HEAD_SHARE and rate != rates[-1]:
                continue
            reasons = [_batch_reason(best), why, _place_reason(centers, wish)]
            if len(rates) > 1:
                reasons.append(_rate_reason(rate, head_share))
            yield best, reasons


def _places(wish: Plan) -> list[str]:
    if wish.setting.centers != "memory":
        return [wish.setting.centers]
    return ["memory", "host", "mmap"] if wish.machine.is_gpu else ["memory", "mmap"]


def _faster(kept: Plan | None, recomputed: Plan | None) -> tuple[Plan | None, str]:
    if recomputed is None:
        return None, ""
    if kept is None:
        return recomputed, "head_mode=recompute: there is no room to keep the weights of a step"
    speeds = [speed_of(p.setting, p.trace, p.machine, link=p.link).images_per_s for p in (kept, recomputed)]
    if speeds[0] >= speeds[1]:
        return kept, "head_mode=keep: what the first sweep computed fits and need not be computed again"
    return recomputed, "head_mode=recompute: the memory that it frees holds a larger batch, which gains more"


def _head_share(found: Plan) -> float:
    seconds = speed_of(found.setting, found.trace, found.machine, link=found.link).seconds
    return sum(s for name, s in seconds.items() if "head" in name or "rows" in name) / sum(seconds.values())


def _batch_reason(best: Plan) -> str:
    if best.setting.batch >= LARGEST_BATCH:
        return f"batch_size={best.setting.batch}: more would fit, but gains little speed and changes the training"
    return f"batch_size={best.setting.batch}: the largest multiple of 8 that fits"


def _place_reason(centers: str, wish: Plan) -> str:
    if centers == "memory":
        return "centers=memory: the table fits beside the backbone"
    if centers == wish.setting.centers:
        return f"centers={centers}: as asked for"
    if centers == "host":
        return "centers=host: the table does not fit on the GPU; rows travel while the backbone runs"
    return "centers=mmap:FOLDER: the table does not fit in memory; rows come from the disk while the backbone runs"


def _rate_reason(rate: float, head_share: float) -> str:
    share = f"the head takes {head_share:.0%} of the step"
    if rate == 1:
        return f"sample_rate=1: {share}; sampling would gain little"
    return f"sample_rate={rate:g}: {share}, more at higher rates; published runs lose no accuracy down to 0.1"


def _options(wish: Plan) -> Iterator[str]:
    """Changes, one at a time, after which the wish fits."""
    setting, machine = wish.setting, wish.machine
    smaller = largest_batch(setting, machine, link=wish.link, limit=setting.batch)
    if smaller is not None:
        yield f"batch_size={smaller.setting.batch} instead of {setting.batch}"
    changes: list[tuple[str, dict]] = []
    if keeps(setting, machine):
        changes.append(("head_mode=recompute", {"mode": "recompute"}))
    if not setting.gradient_checkpointing:
        changes.append(("gradient_checkpointing=True", {"gradient_checkpointing": True}))
    if setting.precision == "fp32":
        precision = "bf16" if machine.has_bf16 else "fp16"
        changes.append((f"precision={precision}", {"precision": precision}))
    for rate in (0.3, 0.1):
        if rate < setting.sample_rate:
            changes.append((f"sample_rate={rate}", {"sample_rate": rate}))
    if setting.centers == "memory":
        rate = min(setting.sample_rate, 0.1 if setting.sample_rate == 1 else 1.0)
        lower = "" if rate == setting.sample_rate else f" with sample_rate={rate}"
        if machine.is_gpu:
            changes.append((f"centers=host{lower}", {"centers": "host", "sample_rate": rate}))
        changes.append((f"centers=mmap:FOLDER{lower}", {"centers": "mmap", "sample_rate": rate}))
    for text, change in changes:
        if not plan(replace(setting, **change), machine, link=wish.link).short_bytes:
            yield text
    for factor in (2, 4, 8, 16, 32, 64, 128):
        ranks = setting.ranks * factor
        if ranks > setting.identities:
            break
        if not plan(replace(setting, ranks=ranks), machine, link=wish.link).short_bytes:
            yield f"{ranks} ranks instead of {setting.ranks}, at the same batch per rank"
            break
