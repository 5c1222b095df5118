"""What models are called in a report: the shortest that tells them apart."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any


def model_names(models: Sequence[dict[str, Any]]) -> list[str]:
    """A name for each, all different: its own `name`, network, file name, run folder, or several of them.

    Models that nothing tells apart are numbered.
    """
    parts = [_parts(model) for model in models]
    for wanted in (
        ("name",),
        ("network",),
        ("file",),
        ("folder",),
        ("network", "file"),
        ("network", "folder"),
        ("folder", "file"),
        ("network", "path"),
    ):
        names = [" · ".join(part[key] for key in wanted if part[key]) for part in parts]
        if all(names) and len(set(names)) == len(names):
            return names
    names = [part["name"] or part["network"] or part["file"] or "the model" for part in parts]
    return [name if names.count(name) == 1 else f"{name} #{place}" for place, name in enumerate(names, 1)]


def _parts(model: dict[str, Any]) -> dict[str, str]:
    file = Path(str(model.get("file") or ""))
    run = Path(str(model.get("run") or file.parent))
    parts = {"name": model.get("name"), "network": model.get("network"), "file": file.name, "folder": run.name}
    parts["path"] = model.get("file") or model.get("run")
    return {key: str(value or "") for key, value in parts.items()}
