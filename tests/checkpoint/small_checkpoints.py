"""Checkpoints of a few kilobytes whose every number follows from their step, so that a mixture of two is noticed."""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch

from recognition.checkpoint import Checkpoint, CheckpointStore
from recognition.runtime import Runtime

LONE = Runtime()


def numbers(step: int, rank: int, count: int) -> torch.Tensor:
    """What rank `rank` stores at `step`."""
    return torch.arange(count, dtype=torch.float32) * (step + 1) + rank


def save(
    store: CheckpointStore, step: int, *, runtime: Runtime = LONE, count: int = 500, is_best: bool = False
) -> Path:
    """Save the checkpoint of a step: one file of tensors a rank, and two documents."""
    tensors = {"w": numbers(step, runtime.rank, count), "flag": torch.tensor(True)}
    return store.save(
        step,
        tensors={f"rank-{runtime.rank}.safetensors": tensors},
        documents={"state.json": {"step": step}, "config.json": {"lr": 0.1, "names": ["a"] * 20}},
        facts={"step": step, "commit": "0123abcd"},
        is_best=is_best,
    )


def assert_is_of(checkpoint: Checkpoint, step: int, *, world: int = 1, count: int = 500) -> None:
    """All that `save` stored is there, and is of this step."""
    assert (checkpoint.step, checkpoint.world, checkpoint.facts["step"]) == (step, world, step)
    assert checkpoint.names == ["config.json", *(f"rank-{rank}.safetensors" for rank in range(world)), "state.json"]
    assert checkpoint.document("state.json") == {"step": step}
    assert checkpoint.document("config.json") == {"lr": 0.1, "names": ["a"] * 20}
    for rank in range(world):
        file = checkpoint.tensor_file(f"rank-{rank}.safetensors")
        assert torch.equal(file.get("w"), numbers(step, rank, count))


def hashes(folder: Path) -> dict[str, str]:
    """SHA-256 of every file below a folder, by relative path; the lock is none of a checkpoint."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != ".lock")
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def entries(folder: Path) -> list[str]:
    """Names in a folder but that of its lock."""
    return sorted(path.name for path in folder.iterdir() if path.name != ".lock")
