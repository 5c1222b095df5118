"""A run of twenty steps with a checkpoint every five, and what must not depend on what happened to it on its way."""

from __future__ import annotations

from pathlib import Path

from recognition.runtime import Runtime
from recognition.training.loop import train
from recognition.training.metrics import read_rows
from tests.faults.faults import injected
from tests.training.small_runs import digests, small

STEPS, EVERY = 20, 5
OPTIONS = ("num_image=400", "num_classes=21", f"max_steps={STEPS}", f"checkpoint_steps={EVERY}", "dropout=0.2")


def run(runtime: Runtime, folder: Path, *faults: str) -> Path:
    """Take them in `folder`/run, or those that are left, with these faults."""
    with injected(faults):
        return train(small(folder, *OPTIONS), runtime)


def outcome(run_dir: Path, steps: int = STEPS) -> tuple[dict[str, str], list[tuple]]:
    """SHA-256 of the tensors in the last checkpoint, and the numbers of every step."""
    rows = read_rows(run_dir, "train")
    return digests(run_dir, steps), [(row["step"], row["loss"], row["lr"], row["epoch"]) for row in rows]
