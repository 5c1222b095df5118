"""What a run leaves behind: the best and the final backbone, the report, the ONNX file."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from recognition.atomic import write_text
from recognition.config import TrainConfig
from recognition.data.substitutes import BadRecord
from recognition.data.transforms import INPUT_FACTS
from recognition.errors import InputError
from recognition.export.onnx_file import export_onnx
from recognition.log import LOG
from recognition.provenance import newest_provenance
from recognition.report.writing import write_report
from recognition.targets.pairs import PairsTarget
from recognition.targets.target import Scored
from recognition.training.evaluation import Scores
from recognition.training.metrics import read_rows
from recognition.weights import plain_state, save_backbone, weights_sha256


def model_meta(cfg: TrainConfig, step: int, scores: Scores) -> dict[str, Any]:
    """What someone who finds the weights needs to know to use them."""
    return {
        "network": cfg.network,
        "embedding_size": cfg.embedding_size,
        "image_size": cfg.image_size,
        **INPUT_FACTS,
        "step": step,
        "accuracy": {name: score.result.accuracy for name, score in scores.items()},
    }


def keep_latest(run_dir: Path, model: nn.Module, cfg: TrainConfig, step: int, scores: Scores) -> dict[str, Any]:
    """Store the backbone as it is, so that a run that is killed leaves something; returns the meta stored with it."""
    meta = model_meta(cfg, step, scores)
    save_backbone(run_dir / "model.safetensors", model, meta)
    return meta


def keep_models(run_dir: Path, model: nn.Module, cfg: TrainConfig, step: int, scores: Scores, *, is_best: bool) -> None:
    """Store the backbone as it is, and if it has the best mean accuracy so far as the best, with what it scored.

    A disk without room for them ends the run only where a checkpoint that cannot be written would.
    """
    try:
        meta = keep_latest(run_dir, model, cfg, step, scores)
        if is_best:
            save_backbone(run_dir / "best.safetensors", model, meta)
            best = {"step": step, "accuracy": meta["accuracy"]}
            write_text(run_dir / "best.json", json.dumps(best, indent=2) + "\n")
    except (InputError, OSError) as error:
        if cfg.checkpoint_error == "stop":
            raise
        LOG.warning("model of step %d not written: %s; training goes on", step, error)


def finish_run(
    run_dir: Path,
    model: nn.Module,
    cfg: TrainConfig,
    *,
    steps: int,
    scores: Scores,
    targets: dict[str, PairsTarget],
    data_facts: Mapping[str, int | str] | None = None,
    bad_records: Sequence[BadRecord] = (),
) -> None:
    """Write the models, the report and, last because it may be refused, the ONNX file (main rank only).

    `data_facts`: what the preflight found; `bad_records`: those in whose place others were shown.
    """
    meta = keep_latest(run_dir, model, cfg, steps, scores)
    save_backbone(run_dir / "model.pt", model, meta)
    LOG.info("model:  %s", run_dir / "model.safetensors")
    facts = {
        **meta,
        "params": sum(parameter.numel() for parameter in model.parameters()),
        "sha256": weights_sha256(plain_state(model)),
        "run": str(run_dir),
        "data": f"{cfg.rec}: {cfg.num_image} images of {cfg.num_classes} identities",
        "data_check": dict(data_facts or {}),
        "margin": list(cfg.margin_list),
        "provenance": newest_provenance(run_dir),
    }
    rows = read_rows(run_dir, "train")
    scored = [Scored(targets[name], (outcome,)) for name, outcome in scores.items()]
    page = write_report(run_dir / "report", scored, models=[facts], training_rows=rows, bad_records=bad_records)
    LOG.info("report: %s", page)
    if cfg.export_onnx:
        difference = export_onnx(model, run_dir / "model.onnx", meta)
        LOG.info("onnx:   %s, differs from PyTorch by %.1e (relative)", run_dir / "model.onnx", difference)
