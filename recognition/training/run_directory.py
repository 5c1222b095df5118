"""The folder of one run: what is in it, and how a new run leaves an earlier one alone."""

from __future__ import annotations

import itertools
from pathlib import Path

from recognition.atomic import write_text
from recognition.config import TrainConfig, config_json
from recognition.errors import InputError


def prepare_run_directory(cfg: TrainConfig) -> Path | None:
    """Create the run's folder with config.json in it; returns where an earlier run was set aside, if any."""
    run_dir = cfg.output_dir
    aside = None
    if run_dir.exists() and not run_dir.is_dir():
        raise InputError(f"output={run_dir} is a file; give a folder")
    if (run_dir / "config.json").exists():
        names = (run_dir.with_name(f"{run_dir.name}.old-{n}") for n in itertools.count(1))
        aside = next(path for path in names if not path.exists())
        run_dir.rename(aside)
    run_dir.mkdir(parents=True, exist_ok=True)
    write_text(run_dir / "config.json", config_json(cfg))
    return aside
