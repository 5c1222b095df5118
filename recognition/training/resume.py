"""Which settings of a run must be those of the checkpoint that it goes on from."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any

from recognition.config import config_json
from recognition.provenance import NOT_HASHED

# What may change from one start of a run to the next, besides where and how fast it runs, what it shows and keeps.
# Batch size and accumulation: with the ranks they make the global batch, and a note says if that changed.
FREE = NOT_HASHED | {"batch_size", "gradient_acc", "max_steps", "compile", "gradient_checkpointing", "dali"}
FREE |= {"centers", "head_mode", "init", "class_map", "val_targets", "tiny"}


def contradictions(stored: Mapping[str, Any], cfg: Any, free: Collection[str] = FREE) -> list[str]:
    """`key=now (the checkpoint has then)` for every setting that a resume cannot change: all but the `free` ones."""
    now = json.loads(config_json(cfg))
    return [
        f"{key}={now[key]} (the checkpoint has {stored.get(key)})"
        for key in now
        if key not in free and now[key] != stored.get(key)
    ]
