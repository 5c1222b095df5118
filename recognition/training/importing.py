"""A set of arcface_torch's `checkpoint_gpu_{rank}.pt` as the first checkpoint of a run here, of any number of ranks."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from os import PathLike
from pathlib import Path

import torch

from recognition.atomic import write_text
from recognition.backbones import build_backbone
from recognition.checkpoint.arcface_torch import ArcfaceTorchSet, open_arcface_torch
from recognition.checkpoint.folder import listed, step_path
from recognition.checkpoint.layout import FOLDER, mean_over_ranks
from recognition.config import TrainConfig, config_json
from recognition.errors import InputError
from recognition.head.losses import build_objective
from recognition.head.stored import CLOCK, TABLE, ShardFacts, StoredShard, restore_shard
from recognition.provenance import provenance
from recognition.runtime import Runtime
from recognition.training.assembly import build_step, open_training_set
from recognition.training.plan import Progressed, plan_steps
from recognition.training.saving import Saving
from recognition.training.state import TrainState
from recognition.training.step import TrainStep
from recognition.weights import require_same_tensors


def import_arcface_torch(folder: str | PathLike, cfg: TrainConfig, log: Callable[[str], None]) -> Path:
    """Make `cfg.output` a run that goes on from the set in `folder`, on any number of ranks; returns its checkpoint.

    Samples are drawn in our order from there on, which is not arcface_torch's. `log` gets a line on what was found.
    InputError, nothing being written, where the set contradicts itself or the config, or the folder holds a run.
    """
    runtime = Runtime()
    _require_no_run(cfg.output_dir)
    source, cfg, _ = open_training_set(cfg)
    theirs = open_arcface_torch(folder, num_classes=cfg.num_classes)
    require_fitting(theirs, cfg)
    progressed = position(theirs, cfg)
    # Whether anything is still frozen; this process counts steps of its own global batch.
    take_step = build_step(cfg, runtime, plan=plan_steps(cfg, runtime.world, progressed))
    fill(take_step, theirs)
    facts = {**provenance(cfg, source, runtime), "imported": str(folder)}
    # There is no training here that could go on without it.
    must_save = dataclasses.replace(cfg, checkpoint_error="stop")
    with Saving(cfg.output_dir, TrainState(take_step, cfg), cfg=must_save, runtime=runtime, facts=facts) as saving:
        saving.save(progressed)
    if (table := take_step.head.centers.file) is not None:
        table.path.unlink()  # scratch, of a number of ranks that the run will hardly have
    write_text(cfg.output_dir / "config.json", config_json(cfg))
    log(_description(theirs, cfg, progressed))
    return step_path(cfg.output_dir / FOLDER, progressed.step)


def require_fitting(theirs: ArcfaceTorchSet, cfg: TrainConfig) -> None:
    """InputError, naming the key to change, unless the set is of the config's optimizer, sizes and network."""
    if theirs.optimizer != cfg.optimizer:
        raise InputError(
            f"{theirs.folder} was trained by {theirs.optimizer}, the config has optimizer={cfg.optimizer}; "
            f"set optimizer={theirs.optimizer}"
        )
    if theirs.embedding_size != cfg.embedding_size:
        raise InputError(
            f"{theirs.folder} has embedding_size={theirs.embedding_size}, the config "
            f"embedding_size={cfg.embedding_size}; set embedding_size={theirs.embedding_size}"
        )
    subcenters = build_objective(cfg).subcenters
    if theirs.subcenters != subcenters:
        raise InputError(
            f"{theirs.folder} has one centre for each class, loss={cfg.loss} has {subcenters}; set another loss, or "
            f"start from the backbone with init={theirs.folder}"
        )
    with torch.device("meta"):
        backbone = build_backbone(cfg.network, cfg.embedding_size, image_size=cfg.image_size)
    require_same_tensors(backbone.state_dict(), theirs.backbone, network=cfg.network, path=theirs.files[0].path)


def position(theirs: ArcfaceTorchSet, cfg: TrainConfig) -> Progressed:
    """How far the set had come: batches of `cfg.batch_size` images on each of its ranks, `cfg.gradient_acc` a step."""
    samples = theirs.global_step * cfg.batch_size * len(theirs.files)
    return Progressed(step=theirs.global_step // cfg.gradient_acc, samples=samples)


@torch.no_grad()
def fill(take_step: TrainStep, theirs: ArcfaceTorchSet) -> None:
    """Give a step that was just built, on one rank, weights, statistics, centres and what the optimizer remembers.

    Statistics of BatchNorm become the mean over the ranks, as in a resume on another number of them.
    """
    backbone, optimizer = take_step.backbone, take_step.optimizer
    buffers = theirs.buffers_by_rank
    means = {name: mean_over_ranks([own[name] for own in buffers]) for name in buffers[0]}
    backbone.load_state_dict({**theirs.backbone, **means})
    if take_step.average is not None:
        take_step.average.module.load_state_dict(backbone.state_dict())
    slots = theirs.backbone_slots()
    for name, parameter in backbone.named_parameters():
        for key, value in optimizer.state.get(parameter, {}).items():
            if name in slots:
                value.copy_(slots[name][key])
    restore_shard(take_step.head.centers, [_shard(theirs)], takes_all=take_step.head.active.takes_all)


def _shard(theirs: ArcfaceTorchSet) -> StoredShard:
    """All class centres as one stored shard. Dense steps have moved them: no row owes anything, or was never made."""
    counts_C = theirs.touches(0, theirs.num_classes)
    facts = ShardFacts(first_class=0, num_local=theirs.num_classes, steps=int(counts_C.max()), is_whole=True)
    tensors = {TABLE: theirs.rows} | ({CLOCK: theirs.touches} if theirs.optimizer == "adamw" else {})
    return StoredShard(
        facts,
        names=list(tensors),
        rows=lambda name, start, stop: tensors[name](start, stop),
        get=lambda name: tensors[name](0, theirs.num_classes),
    )


def _require_no_run(run_dir: Path) -> None:
    if run_dir.exists() and not run_dir.is_dir():
        raise InputError(f"{run_dir} is a file; give a folder")
    if (run_dir / "config.json").exists() or listed(run_dir / FOLDER):
        raise InputError(f"{run_dir} holds a run; give another folder")


def _description(theirs: ArcfaceTorchSet, cfg: TrainConfig, progressed: Progressed) -> str:
    ranks, num_image, seen = len(theirs.files), cfg.num_image, progressed.samples
    line = (
        f"{theirs.folder}: {ranks} rank(s) at step {theirs.global_step}; with batch_size={cfg.batch_size} each has "
        f"seen its share of {seen} images, {seen / num_image:.2f} epochs"
    )
    # Every epoch there leaves out its last part-batch, and ranks are padded to equal numbers of images.
    behind = theirs.epoch * num_image - seen
    if not -ranks * theirs.epoch <= behind <= ranks * cfg.batch_size * theirs.epoch:
        line += f". Its files say {theirs.epoch} epoch(s): are batch_size and rec those of that run?"
    return line
