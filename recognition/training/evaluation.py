"""Verification inside a run: every rank embeds its share, and the best model so far is kept."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from recognition.collectives import all_reduce_mean
from recognition.config import TrainConfig
from recognition.data.synthetic import synthetic_pairs
from recognition.errors import InputError
from recognition.runtime import Runtime
from recognition.training.metrics import LOG, MetricsWriter
from recognition.verification import Pairs, VerificationResult, load_pairs, verify_pairs
from recognition.verification.embedding import Embeddings, embed_images


def open_targets(cfg: TrainConfig, runtime: Runtime) -> dict[str, Pairs]:
    """The verification sets that the config names, loaded; InputError naming the file when one is missing."""
    folder = Path(cfg.val_dir or cfg.rec)
    targets = {}
    for name in cfg.val_targets:
        if name == "synthetic":
            images, issame = synthetic_pairs(num_pairs=120, seed=cfg.seed, image_size=cfg.image_size)
            targets[name] = Pairs(images, issame)
            continue
        path = folder / f"{name}.bin"
        if not path.is_file():
            raise InputError(
                f"verification set {path} does not exist; "
                f"put it there, name its folder with val_dir=, or pass val_targets=[]"
            )
        targets[name] = load_pairs(path, progress=runtime.is_main)
    return targets


@contextmanager
def averaged_statistics(model: nn.Module, runtime: Runtime) -> Iterator[None]:
    """Let BatchNorm use the mean of all ranks' running statistics inside the block, and each rank's own again after it.

    Ranks see different images, so their statistics differ; an evaluation that all ranks share needs one model.
    """
    norms = [module for module in model.modules() if isinstance(module, _BatchNorm)] if runtime.world > 1 else []
    own = [(norm.running_mean.clone(), norm.running_var.clone()) for norm in norms]
    for norm in norms:
        norm.running_mean.copy_(all_reduce_mean(norm.running_mean, runtime))
        norm.running_var.copy_(all_reduce_mean(norm.running_var, runtime))
    try:
        yield
    finally:
        for norm, (mean, var) in zip(norms, own):
            norm.running_mean.copy_(mean)
            norm.running_var.copy_(var)


Results = dict[str, tuple[VerificationResult, Embeddings]]


class Evaluation:
    """Verifies a model on the run's targets and remembers the best mean accuracy."""

    def __init__(
        self, targets: dict[str, Pairs], *, cfg: TrainConfig, runtime: Runtime, metrics: MetricsWriter
    ) -> None:
        self.targets, self.cfg, self.runtime, self.metrics = targets, cfg, runtime, metrics
        self.best: float | None = None

    def __call__(self, model: nn.Module, step: int) -> tuple[Results, bool]:
        """Results by target (equal on all ranks) and whether their mean accuracy is the best so far."""
        results: Results = {}
        for name, pairs in self.targets.items():
            embedded = embed_images(
                model, pairs.images, runtime=self.runtime, batch_size=self.cfg.val_batch_size, title=name
            )
            result = verify_pairs(embedded.emb_ND, pairs.issame)
            results[name] = (result, embedded)
            self.metrics.write(
                "verification",
                step,
                target=name,
                accuracy=result.accuracy,
                accuracy_std=result.accuracy_std,
                auc=result.auc,
                eer=result.eer,
                xnorm=embedded.xnorm,
                tar_at_far={f"{far:g}": tar for far, tar in result.tar_at_far.items()},
            )
        if not results:
            return results, False
        mean = sum(result.accuracy for result, _ in results.values()) / len(results)
        is_best = self.best is None or mean > self.best
        if is_best:
            self.best = mean
        return results, is_best


def best_json(results: Results, step: int) -> str:
    """What best.safetensors scored, for people."""
    accuracy = {name: result.accuracy for name, (result, _) in results.items()}
    return json.dumps({"step": step, "accuracy": accuracy}, indent=2)


def log_results(results: Results, step: int) -> None:
    """One line per verification set."""
    for name, (result, embedded) in results.items():
        LOG.info(
            "step %d  %s  accuracy %.4f +- %.4f  auc %.4f  eer %.4f  xnorm %.2f",
            *(step, name, result.accuracy, result.accuracy_std, result.auc, result.eer, embedded.xnorm),
        )
        for warning in result.warnings:
            LOG.info("step %d  %s  warning: %s", step, name, warning)
