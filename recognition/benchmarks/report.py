"""Figures as a Markdown table for readers and as JSON for programs, with the machine that they were taken on."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import torch

from recognition.atomic import write_text
from recognition.runtime import usable_cores
from recognition.strict_json import finite


def machine(device: torch.device | str = "cpu") -> dict[str, Any]:
    """What a figure depends on beside the code: processor, cores this process may use, torch, and the day."""
    device = torch.device(device)
    facts = {"cpu": _cpu_model(), "cores": usable_cores(), "capability": torch.backends.cpu.get_cpu_capability()}
    if device.type == "cuda":
        facts["gpu"] = torch.cuda.get_device_name(device)
    return facts | {"torch": torch.__version__, "date": datetime.now(timezone.utc).strftime("%Y-%m-%d")}


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows under the names of their columns, aligned; a value that is None is a dash."""
    if not rows:
        return "(no rows)"
    columns = list(dict.fromkeys(key for row in rows for key in row))
    cells = [columns, *([_text(row.get(column)) for column in columns] for row in rows)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(columns))]
    numeric = [all(isinstance(row.get(c), (int, float, type(None))) for row in rows) for c in columns]
    lines = [" | ".join(map(_padded, line, widths, numeric)) for line in cells]
    rule = "|" + "|".join("-" * (width + 1) + (":" if right else "-") for width, right in zip(widths, numeric)) + "|"
    return "\n".join([f"| {lines[0]} |", rule, *(f"| {line} |" for line in lines[1:])])


def show(name: str, rows: Sequence[Mapping[str, Any]], about: Mapping[str, Any], json_file: Path | None) -> None:
    """Print the machine and the table, and write both to `json_file` where one is given."""
    print(", ".join(f"{key} {value}" for key, value in about.items()))
    print(table(rows), flush=True)
    if json_file is not None:
        content = {"benchmark": name, "machine": dict(about), "rows": [dict(row) for row in rows]}
        write_text(json_file, json.dumps(finite(content), indent=2) + "\n")


def _padded(cell: str, width: int, right: bool) -> str:
    return cell.rjust(width) if right else cell.ljust(width)


def _text(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "NO"
    if isinstance(value, float):
        return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _cpu_model() -> str:
    """The processor's name as the kernel gives it, or what Python knows."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
