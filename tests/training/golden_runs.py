"""Three tiny runs whose losses are written down: a change that alters what training computes does not pass unseen."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

from recognition.config import load_config
from recognition.runtime import Runtime
from recognition.training.loop import train
from recognition.training.metrics import read_rows
from recognition.weights import load_backbone, weights_sha256
from tests.conftest import CONFIGS

GOLDEN = Path(__file__).parent / "golden"
NAMES = ("ms1mv3_mbf", "wf42m_pfc02_8gpus_r50_bs4k", "wf42m_pfc03_40epoch_8gpu_vit_t")
WRITTEN = ("loss", "grad_norm", "target_cos")
# At the rate of its config a run of tiny batches is chaotic: in 4 steps, rounding grows from 1e-7 to a tenth of a loss.
STEADY = ("max_steps=5", "warmup_epoch=0", "lr=0.001")
BARE = ("tiny=True", "device=cpu", "val_targets=[]", "export_onnx=False", "using_tensorboard=False", "frequent=1")


class Finished(NamedTuple):
    """Rows of metrics of all steps, and the hash of the weights at the end."""

    rows: list[dict[str, float]]
    sha256: str


def golden_run(name: str, folder: Path) -> Finished:
    """Train the tiny twin of a config in `folder`, one rank, one thread, float32."""
    cfg = load_config(CONFIGS / f"{name}.py", [*BARE, *STEADY, f"output={folder}"])
    run = train(cfg, Runtime())
    rows = [{key: row[key] for key in ("step", *WRITTEN)} for row in read_rows(run, "train")]
    return Finished(rows, weights_sha256(load_backbone(run / "model.safetensors")[0].state_dict()))


def golden_rows(name: str) -> list[dict[str, float]]:
    """What was written down."""
    return json.loads((GOLDEN / f"{name}.json").read_text())


def write_golden(name: str, rows: list[dict[str, float]]) -> None:
    """Write it down, a row on each line."""
    GOLDEN.mkdir(exist_ok=True)
    lines = ",\n ".join(json.dumps(row) for row in rows)
    (GOLDEN / f"{name}.json").write_text(f"[{lines}]\n")
