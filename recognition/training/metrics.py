"""Where a run's numbers go: metrics.jsonl for programs, TensorBoard and wandb for eyes, one line on the console."""

from __future__ import annotations

import json
import logging
import math
from pathlib import Path
from types import TracebackType
from typing import Any

from tqdm import tqdm

from recognition.config import TrainConfig, config_json
from recognition.errors import InputError

LOG = logging.getLogger("arcscale")


class MetricsWriter:
    """Writes rows of metrics for the main rank; a writer without a folder (the other ranks) writes nothing."""

    def __init__(self, run_dir: Path | None, cfg: TrainConfig) -> None:
        self.rows = self.tensorboard = self.wandb = None
        if run_dir is None:
            return
        self.rows = open(run_dir / "metrics.jsonl", "a", encoding="utf-8", buffering=1)  # noqa: SIM115
        if cfg.using_tensorboard:
            from torch.utils.tensorboard import SummaryWriter

            self.tensorboard = SummaryWriter(str(run_dir / "tensorboard"))
        if cfg.using_wandb:
            self.wandb = start_wandb(run_dir, cfg)

    def write(self, kind: str, step: int, **values: Any) -> None:
        """Append one row; non-finite numbers are stored as null so that the file stays JSON."""
        if self.rows is None:
            return
        clean = {key: _finite_or_none(value) for key, value in values.items()}
        self.rows.write(json.dumps({"kind": kind, "step": step, **clean}) + "\n")
        prefix = f"{kind}/{clean['target']}" if "target" in clean else kind
        numbers = {f"{prefix}/{key}": value for key, value in clean.items() if isinstance(value, (int, float))}
        if self.tensorboard is not None:
            for name, value in numbers.items():
                self.tensorboard.add_scalar(name, value, step)
        if self.wandb is not None:
            self.wandb.log(numbers, step=step)

    def __enter__(self) -> MetricsWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for sink in (self.rows, self.tensorboard):
            if sink is not None:
                sink.close()
        if self.wandb is not None:
            self.wandb.finish(exit_code=0 if error is None else 1)


def start_wandb(run_dir: Path, cfg: TrainConfig) -> Any:
    """Log in to Weights & Biases and start a run; the key goes to their client only, stored configs have it masked."""
    try:
        import wandb
    except ImportError as error:
        raise InputError("using_wandb=True needs the wandb package: pip install 'arcscale[wandb]'") from error
    if cfg.wandb_key and cfg.wandb_key != "XXXX":
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


def read_rows(run_dir: Path, kind: str) -> list[dict[str, Any]]:
    """All rows of one kind from a run's metrics.jsonl, oldest first."""
    with open(run_dir / "metrics.jsonl", encoding="utf-8") as lines:
        return [row for row in map(json.loads, lines) if row["kind"] == kind]


class ConsoleHandler(logging.Handler):
    """Log lines that do not tear a progress bar apart."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print the record above any bar that is being drawn."""
        tqdm.write(self.format(record))


def start_log(run_dir: Path) -> None:
    """Send the log to the console and to training.log in the run directory (main rank only)."""
    LOG.setLevel(logging.INFO)
    LOG.propagate = False
    end_log()
    console, file = ConsoleHandler(), logging.FileHandler(run_dir / "training.log", encoding="utf-8")
    file.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    LOG.addHandler(console)
    LOG.addHandler(file)


def end_log() -> None:
    """Close and forget the handlers of an earlier run in this process."""
    for handler in list(LOG.handlers):
        LOG.removeHandler(handler)
        handler.close()


def _finite_or_none(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {str(key): _finite_or_none(item) for key, item in value.items()}
    return value
