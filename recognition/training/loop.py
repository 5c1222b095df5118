"""A whole run, from records to report: read `train` and you have read the system."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator
from pathlib import Path

import torch

from recognition.backbones import build_backbone
from recognition.config import TrainConfig, describe_config, without_effect
from recognition.data.dali import DaliLoader
from recognition.data.label_noise import NoisySource, parse_noise
from recognition.data.loader import Batch, Loader, try_first
from recognition.data.sources import Source, open_source
from recognition.errors import InputError
from recognition.export import require_exportable
from recognition.head import PartialFC
from recognition.head.losses import build_objective
from recognition.log import LOG, end_log, start_log
from recognition.runtime import Runtime
from recognition.training.evaluation import Evaluation, averaged_statistics, open_targets
from recognition.training.finish import finish_run, keep_best, keep_latest
from recognition.training.metrics import MetricsWriter, import_wandb
from recognition.training.optimizer import build_row_optimizer
from recognition.training.progress import Progress
from recognition.training.run_directory import prepare_run_directory
from recognition.training.schedule import learning_rate, step_counts
from recognition.training.step import TrainStep


def train(cfg: TrainConfig, runtime: Runtime) -> Path:
    """Train as `cfg` says on all ranks, verify, save and report; returns the run directory."""
    source = open_source(
        cfg.rec, num_classes=cfg.num_classes, num_image=cfg.num_image, seed=cfg.seed, image_size=cfg.image_size
    )
    if cfg.label_noise:
        source = NoisySource(source, parse_noise(cfg.label_noise), seed=cfg.seed)
    cfg, remarks = filled_from(source, cfg)
    steps, total_steps, warmup_steps = planned_steps(cfg, runtime)
    targets = open_targets(cfg, runtime)
    take_step = build_step(cfg, runtime)
    loader = open_loader(source, cfg, runtime, steps=steps)
    try_first(source, cfg.image_size)
    run_dir = begin_run(cfg, runtime, remarks)
    with MetricsWriter(run_dir if runtime.is_main else None, cfg) as metrics:
        evaluate = Evaluation(targets, cfg=cfg, runtime=runtime, metrics=metrics)
        progress = Progress(cfg, runtime, metrics, num_samples=len(source), steps=steps)
        scores = {}
        for step, batches in enumerate(grouped(loader, cfg.gradient_acc)):
            lr = learning_rate(
                step, base=cfg.lr, total_steps=total_steps, warmup_steps=warmup_steps, schedule=cfg.schedule
            )
            output = take_step(batches, step=step, lr=lr)
            if progress.is_due(step):
                take_step.check(step)
            progress.after_step(step, lr, output, batches)
            if (step + 1) % cfg.verbose == 0 or step + 1 == steps:
                with averaged_statistics(take_step.model, runtime), progress.paused():
                    scores, is_best = evaluate(take_step.model, step + 1)
                    if runtime.is_main:
                        keep_latest(run_dir, take_step.model, cfg, step + 1, scores)
                        if is_best:
                            keep_best(run_dir, take_step.model, cfg, step + 1, scores)
        progress.close()
    with averaged_statistics(take_step.model, runtime):
        if runtime.is_main:
            finish_run(run_dir, take_step.model, cfg, steps=steps, scores=scores, targets=targets)
    runtime.barrier()
    end_log()
    return run_dir


def planned_steps(cfg: TrainConfig, runtime: Runtime) -> tuple[int, int, int]:
    """Optimizer steps to take, of the whole schedule, and of its warm-up; InputError when there are none."""
    total_steps, warmup_steps = step_counts(
        num_samples=cfg.num_image,
        batch_size=cfg.batch_size,
        world=runtime.world,
        gradient_acc=cfg.gradient_acc,
        num_epoch=cfg.num_epoch,
        warmup_epoch=cfg.warmup_epoch,
    )
    if total_steps == 0:
        raise InputError(
            f"{cfg.num_image} images for {cfg.num_epoch:g} epochs do not fill one global batch of "
            f"{cfg.batch_size * runtime.world * cfg.gradient_acc}; lower batch_size or raise num_epoch"
        )
    return min(total_steps, cfg.max_steps or total_steps), total_steps, warmup_steps


def build_step(cfg: TrainConfig, runtime: Runtime) -> TrainStep:
    """Backbone and head, equal for any number of ranks at the same seed, with their optimizer."""
    torch.manual_seed(cfg.seed)
    backbone = build_backbone(
        cfg.network,
        cfg.embedding_size,
        cfg.dropout,
        gradient_checkpointing=cfg.gradient_checkpointing,
        image_size=cfg.image_size,
    )
    if cfg.export_onnx:
        require_exportable(backbone, f"export_onnx=True, but {cfg.network} cannot be exported, set export_onnx=False")
    head = PartialFC(
        build_objective(cfg),
        cfg.embedding_size,
        cfg.num_classes,
        cfg.sample_rate,
        runtime=runtime,
        seed=cfg.seed,
        optimizer=build_row_optimizer(cfg),
        centers=cfg.centers,
        mode=cfg.head_mode,
        operands=cfg.head_operands,
    )
    take_step = TrainStep(backbone, head, cfg=cfg, runtime=runtime)
    torch.manual_seed(cfg.seed + 1 + runtime.rank)  # dropout differs between ranks, initial weights do not
    return take_step


def open_loader(source: Source, cfg: TrainConfig, runtime: Runtime, *, steps: int) -> Loader:
    """The batches of `steps` optimizer steps, `gradient_acc` for each."""
    return (DaliLoader if cfg.dali else Loader)(
        source,
        batch_size=cfg.batch_size,
        runtime=runtime,
        seed=cfg.seed,
        num_workers=cfg.num_workers,
        prefetch=cfg.prefetch_batches,
        num_steps=steps * cfg.gradient_acc,
        image_size=cfg.image_size,
        timeout_s=cfg.data_timeout_s,
    )


def filled_from(source: Source, cfg: TrainConfig) -> tuple[TrainConfig, list[str]]:
    """The config with `num_classes` and `num_image` as the run uses them, and remarks on what was given in vain."""
    remarks = without_effect(cfg)
    if cfg.num_image not in (None, len(source)):
        remarks.append(f"num_image={cfg.num_image}, but {cfg.rec} holds {len(source)} images: {len(source)} it is")
    return dataclasses.replace(cfg, num_classes=source.num_classes, num_image=len(source)), remarks


def begin_run(cfg: TrainConfig, runtime: Runtime, remarks: list[str]) -> Path:
    """Create the run directory and its log on the main rank; every rank gets the path."""
    if cfg.using_wandb:
        import_wandb()
    if runtime.is_main:
        aside = prepare_run_directory(cfg)
        start_log(cfg.output_dir)
        if aside is not None:
            remarks = [*remarks, f"an earlier run was there: it is now {aside}"]
        LOG.info("%s", describe_config(cfg))
        for remark in remarks:
            LOG.info("note: %s", remark)
        LOG.info(
            "%d rank(s) on %s, %s, %d image(s) a step; run directory %s",
            runtime.world,
            runtime.device.type,
            cfg.precision_used,
            cfg.batch_size * runtime.world * cfg.gradient_acc,
            cfg.output_dir,
        )
    runtime.barrier()
    return cfg.output_dir


def grouped(loader: Iterator[Batch], size: int) -> Iterator[list[Batch]]:
    """Batches in groups of `size`, one group per optimizer step."""
    batches = iter(loader)
    while group := list(itertools.islice(batches, size)):
        yield group
