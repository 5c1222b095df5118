"""What a run leaves behind: the best and the final backbone, the ONNX file, the report."""

from __future__ import annotations

import logging
from pathlib import Path

from torch import nn

from recognition.atomic import write_text
from recognition.config import TrainConfig
from recognition.data.transforms import CHANNEL_ORDER, MEAN, STD
from recognition.export import export_onnx
from recognition.training.evaluation import Results, best_json
from recognition.training.metrics import read_rows
from recognition.verification import Pairs
from recognition.verification.report import write_report
from recognition.weights import save_backbone

LOG = logging.getLogger("arcscale")


def model_meta(cfg: TrainConfig, step: int, results: Results) -> dict:
    """What someone who finds the weights needs to know to use them."""
    return {
        "network": cfg.network,
        "embedding_size": cfg.embedding_size,
        "image_size": cfg.image_size,
        "channel_order": CHANNEL_ORDER,
        "mean": MEAN,
        "std": STD,
        "step": step,
        "accuracy": {name: result.accuracy for name, (result, _) in results.items()},
    }


def keep_best(run_dir: Path, model: nn.Module, cfg: TrainConfig, step: int, results: Results) -> None:
    """Store the backbone with the best mean verification accuracy so far."""
    save_backbone(run_dir / "best.safetensors", model, model_meta(cfg, step, results))
    write_text(run_dir / "best.json", best_json(results, step))


def finish_run(
    run_dir: Path, model: nn.Module, cfg: TrainConfig, *, steps: int, results: Results, targets: dict[str, Pairs]
) -> None:
    """Write model.pt, model.safetensors, model.onnx and the report (main rank only)."""
    meta = model_meta(cfg, steps, results)
    save_backbone(run_dir / "model.pt", model, meta)
    save_backbone(run_dir / "model.safetensors", model, meta)
    if cfg.export_onnx:
        LOG.info("exporting model.onnx and comparing it with PyTorch at batches 1, 2 and 7")
        export_onnx(model, run_dir / "model.onnx", meta)
    rows = read_rows(run_dir, "train")
    facts = {**meta, "params": sum(p.numel() for p in model.parameters()), "run": str(run_dir), "data": cfg.rec}
    page = write_report(run_dir / "report", results, model=facts, targets=targets, training_rows=rows)
    LOG.info("model:  %s", run_dir / "model.safetensors")
    LOG.info("report: %s", page)
