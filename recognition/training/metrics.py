"""Where a run's numbers go: metrics.jsonl for programs, TensorBoard and wandb for eyes."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

import numpy as np

from recognition.atomic import write_text
from recognition.config import config_json
from recognition.errors import InputError
from recognition.strict_json import finite
from recognition.training.board import Board
from recognition.training.plan import Plan
from recognition.training.row_file import RowFile


class SinkConfig(Protocol):
    """What a config says of where numbers go; see configs/base.py."""

    using_tensorboard: bool
    using_wandb: bool
    wandb_key: str | None
    wandb_entity: str | None
    wandb_project: str
    suffix_run_name: str | None
    notes: str | None


class MetricsWriter:
    """Writes rows of metrics for the main rank; a writer without a folder (the other ranks) writes nothing."""

    def __init__(self, run_dir: Path | None, cfg: SinkConfig, *, plan: Plan) -> None:
        self.plan = plan
        self.rows = self.tensorboard = self.wandb = None
        if run_dir is None:
            return
        forget_rows_after(run_dir, plan.samples, verified=plan.first < plan.last)
        self.rows = RowFile(run_dir / "metrics.jsonl")
        if cfg.using_tensorboard:
            self.tensorboard = Board(run_dir / "tensorboard", purge_step=plan.first + 1)
        if cfg.using_wandb:
            self.wandb = start_wandb(run_dir, cfg)

    def write(self, kind: str, step: int, **values: Any) -> None:
        """Append one row; non-finite numbers are stored as null so that the file stays JSON."""
        if self.rows is None:
            return
        clean = finite(values)
        self.rows.append({"kind": kind, "step": step, "samples": self.plan.samples_after(step), **clean})
        prefix = f"{kind}/{clean['target']}" if "target" in clean else kind
        numbers = {f"{prefix}/{key}": value for key, value in clean.items() if isinstance(value, (int, float))}
        self._draw(lambda board: [board.add_scalar(name, value, step) for name, value in numbers.items()])
        if self.wandb is not None:
            self.wandb.log(numbers, step=step)

    def show(self, name: str, pixels_HWC: np.ndarray, step: int) -> None:
        """Add a picture, uint8 (H, W, 3) RGB, to TensorBoard."""
        self._draw(lambda board: board.add_image(name, pixels_HWC, step, dataformats="HWC"))

    def _draw(self, draw: Callable[[Any], object]) -> None:
        if self.tensorboard is not None:
            self.tensorboard.draw(draw)

    def __enter__(self) -> MetricsWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with ExitStack() as closing:  # one sink that fails to close does not keep the others open
            if self.rows is not None:
                closing.callback(self.rows.close)
            if self.tensorboard is not None:
                closing.callback(self.tensorboard.close)
            if self.wandb is not None:
                closing.callback(self.wandb.finish, exit_code=0 if error is None else 1)


def import_wandb() -> Any:
    """The wandb package; InputError that says how to get it."""
    try:
        import wandb
    except ImportError as error:
        raise InputError("using_wandb=True needs the wandb package: pip install -e '.[wandb]'") from error
    return wandb


def start_wandb(run_dir: Path, cfg: SinkConfig) -> Any:
    """Log in to Weights & Biases and start a run; the key goes to their client only, stored configs have it masked."""
    wandb = import_wandb()
    if cfg.wandb_key:
        wandb.login(key=cfg.wandb_key)
    name = "_".join(part for part in (run_dir.name, cfg.suffix_run_name) if part)
    return wandb.init(
        project=cfg.wandb_project,
        entity=cfg.wandb_entity,
        name=name,
        notes=cfg.notes,
        dir=str(run_dir),
        config=json.loads(config_json(cfg)),
    )


def forget_rows_after(run_dir: Path, samples: int, *, verified: bool) -> None:
    """Take later rows out of metrics.jsonl: a run that goes on after so many samples will write them again.

    Those of a verification at this very place go too unless it is `verified`, not to be done again.
    """
    path = run_dir / "metrics.jsonl"
    if not path.is_file():
        return
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    kept = [line for line in lines if _samples_of(line) <= samples]
    if not verified:
        kept = [line for line in kept if _samples_of(line) < samples or '"kind": "verification"' not in line]
    if kept != lines:
        write_text(path, "".join(kept))


def _samples_of(line: str) -> float:
    try:
        return json.loads(line)["samples"]
    except (ValueError, KeyError, TypeError):
        return math.inf  # the process died in the middle of the line


def read_rows(run_dir: Path, kind: str) -> list[dict[str, Any]]:
    """All rows of one kind from a run's metrics.jsonl, oldest first, none without the file; InputError if damaged."""
    path = run_dir / "metrics.jsonl"
    try:
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.is_file() else []
        return [row for row in rows if row["kind"] == kind]
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} is damaged ({error}); the rest of the run does not need it: delete it") from error
