"""What a run is put together from: data, network and head, loader, and the folder that it writes to."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import torch

from recognition.backbones import build_backbone
from recognition.config import TrainConfig, describe_config, without_effect
from recognition.data.dali import DaliLoader
from recognition.data.label_noise import NoisySource, parse_noise
from recognition.data.loader import Loader
from recognition.data.preflight import Preflight
from recognition.data.sources import Source, open_source
from recognition.environment import launched
from recognition.export.onnx_file import require_exportable
from recognition.head import PartialFC
from recognition.head.losses import build_objective
from recognition.log import LOG, end_log, start_log
from recognition.provenance import add_provenance
from recognition.runtime import Runtime
from recognition.training.freezing import Freezing, thaw_step
from recognition.training.metrics import import_wandb
from recognition.training.optimizer import build_row_optimizer
from recognition.training.plan import Plan, Progressed, plan_steps
from recognition.training.restarts import require_progress
from recognition.training.run_directory import Opened, RunConfig, prepare_run_directory
from recognition.training.starting import start_from
from recognition.training.step import TrainStep


def open_training_set(cfg: TrainConfig) -> tuple[Source, TrainConfig, list[str]]:
    """The samples, the config with `num_classes` and `num_image` as the run uses them, and remarks on both."""
    source = open_source(
        cfg.rec,
        num_classes=cfg.num_classes,
        num_image=cfg.num_image,
        seed=cfg.seed,
        image_size=cfg.image_size,
        rec_labels=cfg.rec_labels,
        image_column=cfg.image_column,
        label_column=cfg.label_column,
    )
    if cfg.label_noise:
        source = NoisySource(source, parse_noise(cfg.label_noise), seed=cfg.seed)
    remarks = without_effect(cfg)
    if cfg.num_image not in (None, len(source)):
        remarks.append(f"num_image={cfg.num_image}, but {cfg.rec} holds {len(source)} images: {len(source)} it is")
    return source, dataclasses.replace(cfg, num_classes=source.num_classes, num_image=len(source)), remarks


def build_step(
    cfg: TrainConfig, runtime: Runtime, *, plan: Plan | None = None, remarks: list[str] | None = None
) -> TrainStep:
    """Backbone and head, equal for any number of ranks at the same seed, with their optimizer.

    A run that begins starts from the model that `init` names, if any, and adds a remark on it.
    """
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
    plan = plan or plan_steps(cfg, runtime.world, Progressed())
    if plan.samples == 0:
        start_from(cfg, backbone, head, runtime, [].append if remarks is None else remarks.append)
    until = thaw_step(
        cfg.thaw_epoch,
        num_samples=cfg.num_image,
        global_batch=plan.samples_a_step,
        first=plan.first,
        seen=plan.samples,
    )
    freezing = Freezing(backbone, cfg.freeze, until=until)
    freezing.advance(plan.first)
    take_step = TrainStep(backbone, head, cfg=cfg, runtime=runtime, freezing=freezing)
    torch.manual_seed(cfg.seed + 1 + runtime.rank)  # dropout differs between ranks, initial weights do not
    return take_step


def open_loader(source: Source, cfg: TrainConfig, runtime: Runtime, plan: Plan) -> Loader:
    """The batches of the steps to take, `gradient_acc` for each."""
    return (DaliLoader if cfg.dali else Loader)(
        source,
        batch_size=cfg.batch_size,
        runtime=runtime,
        seed=cfg.seed,
        num_workers=cfg.num_workers,
        prefetch=cfg.prefetch_batches,
        start_position=plan.samples,
        num_steps=(plan.last - plan.first) * cfg.gradient_acc,
        image_size=cfg.image_size,
        timeout_s=cfg.data_timeout_s,
        skip_bad=cfg.on_bad_record == "skip",
    )


def begin_run(
    cfg: TrainConfig,
    runtime: Runtime,
    remarks: list[str],
    opened: Opened,
    plan: Plan,
    facts: dict[str, Any],
    looked: Preflight,
) -> Path:
    """Create the run directory, or go on in it, with its log on the main rank; every rank gets the path.

    GivingUp when restarts do not bring the run any further.
    """

    def tell(of_folder: list[str]) -> None:
        resumed = [] if opened.checkpoint is None else resumed_remarks(opened, plan, runtime)
        LOG.info("%s", describe_config(cfg))
        LOG.info("data: %s", looked)
        for remark in (*remarks, *looked.remarks, *of_folder, *resumed):
            LOG.info("note: %s", remark)
        LOG.info(
            "%d rank(s) on %s, %s, %d image(s) a step; run directory %s",
            *(runtime.world, runtime.device.type, cfg.precision_used, plan.samples_a_step, cfg.output_dir),
        )

    return enter_run(cfg, runtime, opened, facts, tell=tell)


class EntryConfig(RunConfig, Protocol):
    """What entering a run's folder asks of a config besides."""

    using_wandb: bool
    restart_limit: int


def enter_run(
    cfg: EntryConfig, runtime: Runtime, opened: Opened, facts: dict[str, Any], *, tell: Callable[[list[str]], None]
) -> Path:
    """Create a run's folder, or go on in it, and start its log; every rank gets the path.

    `tell`, on the main rank, begins the log; it gets the remarks on what was found in the folder. InputError where
    wandb is wanted and missing, GivingUp when restarts do not bring the run any further.
    """
    if cfg.using_wandb:
        import_wandb()
    if runtime.is_main:
        aside = prepare_run_directory(cfg, goes_on=opened.checkpoint is not None)
        start_log(cfg.output_dir)
        tell([*opened.remarks, *([] if aside is None else [f"an earlier run was there: it is now {aside}"])])
        add_provenance(cfg.output_dir, facts)
    runtime.wait_for_all("the start of the run")
    limit = cfg.restart_limit
    require_progress(cfg.output_dir, opened.step, restarts=launched().restarts, limit=limit, runtime=runtime)
    return cfg.output_dir


def resumed_remarks(opened: Opened, plan: Plan, runtime: Runtime) -> list[str]:
    """Where the run goes on, and what is not as it was."""
    document, path = opened.document, opened.checkpoint.path
    remarks = [f"going on from {path}: step {plan.first} of {plan.last}, {plan.samples} samples seen"]
    if document["world"] != runtime.world:
        remarks.append(
            f"it was written by {document['world']} rank(s), now there are {runtime.world}: class centres are dealt "
            f"out anew, BatchNorm statistics are the mean over the ranks that were"
        )
    if document["step"] != plan.first:
        remarks.append(
            f"a step has {plan.samples_a_step} images now: what was step {document['step']} counts as step {plan.first}"
        )
    return remarks


def leave_finished(cfg: RunConfig, runtime: Runtime) -> Path:
    """Say that there is nothing left to do."""
    if runtime.is_main:
        start_log(cfg.output_dir)
        LOG.info("%s holds this run, finished; resume=False starts it anew", cfg.output_dir)
        end_log()
    return cfg.output_dir
