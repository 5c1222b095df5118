"""A plan for people and for programs: memory by part, a step's time by part, what bounds it, what to do."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from recognition.planning.advice import Advice, Plan
from recognition.planning.memory import Memory
from recognition.planning.setting import Setting
from recognition.planning.speed import Speed

LABEL = "Estimates from counted tensors and operations and from data-sheet rates; nothing was run."
GB = 1e9


def plan_text(found: Plan, speed: Speed, advice: Advice | None, *, system: str) -> str:
    """The whole report; no newline at the end."""
    sections = [_head(found, system), _memory(found), _communication(speed), _speed(speed), _verdict(found, advice)]
    return "\n\n".join("\n".join(lines) for lines in sections if lines)


def plan_json(found: Plan, speed: Speed, advice: Advice | None, *, system: str, best_speed: Speed | None = None) -> str:
    """The same as JSON: bytes, seconds, FLOP."""
    recommended = advice.recommended if advice else None
    report = {
        "label": LABEL,
        "system": system,
        "machine": dataclasses.asdict(found.machine),
        "link": found.link,
        "setting": dataclasses.asdict(found.setting),
        "fits": found.short_bytes == 0,
        "short_bytes": found.short_bytes,
        "memory": _memory_values(found.memory),
        "speed": _speed_values(speed),
        "recommended": recommended
        and {
            "setting": dataclasses.asdict(recommended.setting),
            "memory": _memory_values(recommended.memory),
            "speed": best_speed and _speed_values(best_speed),
        },
        "reasons": advice.reasons if advice else [],
        "options": advice.options if advice else [],
    }
    return json.dumps(report, indent=2) + "\n"


def recommendation_text(recommended: Plan, speed: Speed, reasons: list[str]) -> str:
    """The recommended setting with the reason of each choice."""
    total, budget = recommended.memory.total_bytes, recommended.budget_bytes
    lines = [
        "recommended: " + " ".join(f"{key}={value}" for key, value in _keys(recommended.setting).items()),
        f"  {_gb(total)} of {_gb(budget)} a rank, about {speed.images_per_s:,.0f} images/s, bound by {speed.bound}",
        *(f"  - {reason}" for reason in reasons),
    ]
    return "\n".join(lines)


def _head(found: Plan, system: str) -> list[str]:
    s = found.setting
    ranks = f"{s.ranks} x {found.machine.name}" + (f" over {found.link}" if s.ranks > 1 else "")
    what = f"{s.identities:,} identities, {s.network}, {s.batch} images a rank ({s.global_batch:,} a step)"
    how = f"{s.precision}, {s.optimizer}, sample rate {s.sample_rate:g}, centres in {s.centers}"
    return [f"{system} on {ranks}: {what}", how, LABEL]


def _memory(found: Plan) -> list[str]:
    memory = found.memory
    lines = [f"memory of a rank, at its peak: {memory.moment}"]
    lines += _rows({name: _gb(size) for name, size in memory.parts.items()})
    lines += _rows({"total": _gb(memory.total_bytes), "there is (4 % left to the allocator)": _gb(found.budget_bytes)})
    far = {"memory of the host": memory.far.host_bytes, "file on disk": memory.far.disk_bytes}
    return lines + _rows({f"beside it, {name}": _gb(size) for name, size in far.items() if size})


def _communication(speed: Speed) -> list[str]:
    if not speed.transfers:
        return []
    lines = ["communication of a rank, a step"]
    return lines + _rows({name: f"{_mb(t.bytes)}  {_ms(t.seconds)}" for name, t in speed.transfers.items()})


def _speed(speed: Speed) -> list[str]:
    work = f"{speed.backbone_flop / 1e12:,.2f} TFLOP backbone, {speed.head_flop / 1e12:,.2f} TFLOP head"
    lines = [f"time of a step ({work} a rank)"]
    lines += _rows({name: _ms(seconds) for name, seconds in speed.seconds.items() if seconds})
    lines += _rows({"step": _ms(speed.step_s)})
    return [*lines, f"about {speed.images_per_s:,.0f} images/s, bound by {speed.bound}"]


def _verdict(found: Plan, advice: Advice | None) -> list[str]:
    if not found.short_bytes:
        return ["fits"]
    short = f"does not fit: short by {_gb(found.short_bytes)}"
    if advice is None:
        return [short]
    options = [*advice.options]
    if advice.recommended is None:
        options.append("nothing else was found: more GPUs, larger ones, or a smaller network")
    elif not options:
        options.append("no change alone is enough; the setting below is")
    return [short + "; options:", *(f"  - {option}" for option in options)]


def _rows(values: dict[str, str]) -> list[str]:
    return [f"  {name:<44}{value:>14}" for name, value in values.items()]


def _keys(setting: Setting) -> dict[str, Any]:
    """The setting in the words of a config."""
    keys = {"batch_size": setting.batch, "sample_rate": f"{setting.sample_rate:g}", "precision": setting.precision}
    keys |= {"head_mode": setting.mode, "centers": "mmap:FOLDER" if setting.centers == "mmap" else setting.centers}
    return keys | ({"gradient_checkpointing": True} if setting.gradient_checkpointing else {})


def _memory_values(memory: Memory) -> dict[str, Any]:
    return {
        "parts_bytes": memory.parts,
        "moment": memory.moment,
        "tensor_bytes": memory.tensor_bytes,
        "total_bytes": memory.total_bytes,
        "host_bytes": memory.far.host_bytes,
        "disk_bytes": memory.far.disk_bytes,
    }


def _speed_values(speed: Speed) -> dict[str, Any]:
    return {
        "seconds": speed.seconds,
        "transfers": {name: {"bytes": t.bytes, "seconds": t.seconds} for name, t in speed.transfers.items()},
        "backbone_flop": speed.backbone_flop,
        "head_flop": speed.head_flop,
        "step_s": speed.step_s,
        "images_per_s": speed.images_per_s,
        "bound": speed.bound,
    }


def _gb(size: float) -> str:
    return f"{size / GB:,.2f} GB"


def _mb(size: float) -> str:
    return f"{size / 1e6:,.1f} MB"


def _ms(seconds: float) -> str:
    return f"{seconds * 1e3:,.2f} ms"
