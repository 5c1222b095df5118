"""Tables of models side by side: Markdown that lines up as it is, strict JSON beside it, and how times were taken."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import onnxruntime

from recognition.atomic import write_text
from recognition.errors import InputError
from recognition.provenance import cpu_model
from recognition.strict_json import finite

UNKNOWN = "–"


def machine_facts(threads: int, repeats: int) -> dict[str, Any]:
    """What times depend on, for JSON."""
    return {
        "cpu": cpu_model(),
        "threads": threads,
        "onnxruntime": onnxruntime.__version__,
        "repeats": repeats,
    }


def how_timed(machine: Mapping[str, Any]) -> str:
    """A sentence on `machine_facts`."""
    threads = "1 thread" if machine["threads"] == 1 else f"{machine['threads']} threads"
    return (
        f"Time: the fastest of {machine['repeats']} runs, files in turn; {threads} of {machine['cpu']}, "
        f"ONNX Runtime {machine['onnxruntime']}."
    )


def write_table(path: Path, text: str, facts: Mapping[str, Any]) -> Path:
    """Write the table to `path` and the facts beside it as .json, whose path is returned; InputError but for .md."""
    if path.suffix != ".md":
        raise InputError(f"--table {path} must end in .md; the same in JSON is written beside it")
    write_text(path, text)
    beside = path.with_suffix(".json")
    write_text(beside, json.dumps(finite(facts), indent=1, allow_nan=False) + "\n")
    return beside


def fixed(value: float | None, decimals: int) -> str:
    """A figure with so many decimals, a dash for None."""
    return UNKNOWN if value is None else f"{value:.{decimals}f}"


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows of a Markdown table with columns of one width: names to the left, figures to the right."""
    rows = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "| "
        + " | ".join(f"{cell:{'<' if not column else '>'}{widths[column]}}" for column, cell in enumerate(row))
        + " |"
        for row in rows
    ]
    rule = "|" + "|".join("-" * (width + 1) + ("-" if not column else ":") for column, width in enumerate(widths)) + "|"
    return [lines[0], rule, *lines[1:]]
