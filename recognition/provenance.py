"""What a run was made from: code, config, data and machine, so that a figure can be traced, and a run repeated."""

from __future__ import annotations

import hashlib
import json
import platform
import subprocess
from collections.abc import Collection, Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import torch

from recognition import __version__
from recognition.atomic import write_text
from recognition.config import TrainConfig, config_json
from recognition.data.sources import Source
from recognition.data.sources.content import content_of
from recognition.runtime import Runtime

FILE = "provenance.json"
VECTOR_FLAGS = ("avx2", "avx512f", "avx_vnni", "avx512_vnni", "amx_int8", "asimddp", "i8mm")
# Keys that say where and how a run works, what it shows and keeps; another value makes no other numbers, but for the
# rounding of another device or number of threads. The data have a hash of their own, wherever they lie. What becomes of
# bad records is among them: where it matters, one of the choices has no numbers, but an error.
_NOT_HASHED = """
    rec rec_labels image_column label_column on_bad_record bad_record_share
    device threads num_workers prefetch_batches data_timeout_s collective_timeout_s
    resume checkpoint_steps checkpoint_minutes checkpoint_keep checkpoint_keep_every checkpoint_keep_best
    checkpoint_error restart_limit requeue max_bad_steps spike_factor agreement_steps
    val_dir val_batch_size verbose frequent output using_tensorboard export_onnx save_all_states notes
    using_wandb wandb_key wandb_entity wandb_project suffix_run_name wandb_log_all save_artifacts wandb_resume
"""
NOT_HASHED = frozenset(_NOT_HASHED.split())
_ENDS_BYTES = 1 << 20


def provenance(cfg: TrainConfig, source: Source, runtime: Runtime) -> dict[str, Any]:
    """The facts of a start, ready for JSON; what cannot be found out is None. Never fails."""
    return start_facts(runtime, config=config_sha256(cfg), data=data_sha256(source))


def start_facts(runtime: Runtime, *, config: str, data: str | None) -> dict[str, Any]:
    """The facts of the start of any run, by the SHA-256 of its settings and of its data; see `provenance`."""
    is_cuda = runtime.device.type == "cuda"
    return {
        "version": __version__,
        "commit": code_commit(Path(__file__).resolve().parents[1]),
        "config_sha256": config,
        "data_sha256": data,
        "torch": torch.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
        "device": torch.cuda.get_device_name(runtime.device) if is_cuda else "cpu",
        "cpu": cpu_model(),
        "ranks": runtime.world,
        "host": platform.node(),
        "started": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }


def add_provenance(run_dir: Path, facts: dict[str, Any]) -> None:
    """Add the facts of this start to the run's provenance.json, a list with an entry for each start or resume."""
    write_text(run_dir / FILE, json.dumps([*_entries(run_dir), facts], indent=2) + "\n")


def newest_provenance(run_dir: Path) -> dict[str, Any] | None:
    """The facts of the latest start; None where none are stored."""
    return next(reversed(_entries(run_dir)), None)


def config_sha256(cfg: Any, not_hashed: Collection[str] = NOT_HASHED) -> str:
    """SHA-256 of the settings that can change a number, as JSON with sorted keys; equal settings, equal hash."""
    values = {key: value for key, value in json.loads(config_json(cfg)).items() if key not in not_hashed}
    return hashlib.sha256(json.dumps(values, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def data_sha256(source: Source) -> str | None:
    """SHA-256 that tells training sets apart without reading them whole; None where a file cannot be read.

    Record file, tar or parquet shard: its size, index or labels, first and last MB (of many, their share of it). Files:
    names below their common folder, sizes, labels. Synthetic: the parameters. Noise on labels: that of the clean set,
    and the noise. All: the number of images and classes. Where the data lie does not matter. Not noticed: other bytes
    amid a record file or shard, or in an image of the same size.
    """
    digest = hashlib.sha256()
    try:
        for part in content_of(source, _ENDS_BYTES):
            digest.update(len(part).to_bytes(8, "little"))
            digest.update(part)
    except OSError:
        return None
    return digest.hexdigest()


def code_commit(root: Path) -> str | None:
    """Commit of the checkout `root`, with "-dirty" where tracked files were changed; None where it is no checkout."""
    if not (root / ".git").exists():  # an installed package may lie inside somebody else's checkout
        return None
    # The code of this checkout is running already: that another user owns it is no reason not to ask.
    trusted = ("-c", f"safe.directory={root}", "-C", str(root))
    command = ["git", *trusted, "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.SubprocessError, UnicodeError):
        return None
    return done.stdout.strip() or None


def cpu_model() -> str:
    """Name of the processor, else of its architecture."""
    return next(_of_processors("model name"), platform.processor() or platform.machine())


def cpu_vector_flags() -> list[str]:
    """Which of the instructions that networks run fast by the processor has; [] where the system does not say."""
    flags = set(next(_of_processors("flags"), "").split())
    return [flag for flag in VECTOR_FLAGS if flag in flags]


def _of_processors(key: str) -> Iterator[str]:
    """What Linux says of each of them."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return
    yield from (value.strip() for name, _, value in (line.partition(":") for line in lines) if name.strip() == key)


def _entries(run_dir: Path) -> list[dict[str, Any]]:
    try:
        entries = json.loads((run_dir / FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    return [entry for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []
