"""A whole pose-control run, from four files to a model and its curves: read `train` and you have read the system."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from generation.posecontrol.assembly import Assembled, assemble
from generation.posecontrol.boards import Boards, is_shown, pictures_of, save_curves
from generation.posecontrol.config import PoseControlConfig
from generation.posecontrol.progress import EpochProgress
from generation.posecontrol.state import require_equal_ranks, save_checkpoint
from generation.posecontrol.validation import row_of, validate
from generation.run_folder import BEST, FINAL, LAST, stop_here, written_or_told
from recognition.atomic import write_text
from recognition.log import LOG, end_log
from recognition.runtime import Runtime
from recognition.strict_json import finite
from recognition.training.preemption import StopRequest

HISTORY, FINAL_CURVES = "training_history.json", "final_training_curves.png"
LEAST_LR = 1e-6


def train(cfg: PoseControlConfig, runtime: Runtime) -> Path:
    """Train a model as `cfg` says on all ranks, look at it after each epoch, and keep the best; returns `save_dir`.

    Goes on where `resume` says. Stopped, after a checkpoint, when a signal asked any rank to stop. InputError as the
    parts have it, and for a run that has nothing left to do.
    """
    parts = assemble(cfg, runtime)
    if parts is None:
        return cfg.save_dir
    take_step, state = parts.take_step, parts.state
    with StopRequest() as stop, parts.holding_folder(), shown_in(parts) as boards:
        _begin(parts, boards)
        for epoch in range(state.epoch, cfg.epochs):
            lr = epoch_lr(cfg, epoch)
            with EpochProgress(cfg, runtime, boards, state, num_steps=len(parts.train.steps), lr=lr) as progress:
                for batches in parts.train.epoch(epoch, first_step=state.step_in_epoch):
                    output = take_step(batches, lr=lr, stop=stop.is_set)
                    take_step.require_good()
                    progress.after_step(output, batches)
                    if output.agreed.stop:
                        _stop_here(parts, stop)
                trained = progress.means()
            require_equal_ranks(state)
            found = validate(take_step, parts.val, cfg.max_val_pairs, runtime)
            is_best = state.end_epoch(row_of(epoch + 1, trained, lr=lr), row_of(epoch + 1, found))
            if runtime.is_main:
                _after_epoch(parts, boards, is_best=is_best)
            runtime.wait_for_all("the end of an epoch")
        if runtime.is_main:
            _finish(parts)
        runtime.wait_for_all("the last files")
    end_log()
    return cfg.save_dir


@contextmanager
def shown_in(parts: Assembled) -> Iterator[Boards | None]:
    """TensorBoard's writers while the run goes on, on the main rank."""
    if not parts.runtime.is_main:
        yield None
        return
    boards = Boards(parts.cfg.log_dir, epoch=parts.state.epoch, steps=parts.steps_taken())
    try:
        yield boards
    finally:
        boards.close()


def epoch_lr(cfg: PoseControlConfig, epoch: int) -> float:
    """The learning rate of an epoch, from 0: a cosine from `lr` to LEAST_LR over all epochs (arXiv:1608.03983, eq. 5).

    A rate below LEAST_LR stays as it is.
    """
    least = min(LEAST_LR, cfg.lr)
    return least + (cfg.lr - least) * 0.5 * (1 + math.cos(math.pi * epoch / cfg.epochs))


def _begin(parts: Assembled, boards: Boards | None) -> None:
    if boards is None:
        return
    for line in parts.described():
        LOG.info("%s", line)
    boards.tell("Encoder", json.dumps(parts.take_step.model.encoder.facts, indent=1))
    boards.tell("Settings", json.dumps(parts.cfg.as_plain(), indent=1))


def _after_epoch(parts: Assembled, boards: Boards, *, is_best: bool) -> None:
    """Files and pictures of an epoch; a full disk costs them, and not the run."""
    cfg, state = parts.cfg, parts.state
    done, folder = state.epoch, cfg.save_dir
    train, val = (state.history[part][-1] for part in ("train", "val"))
    LOG.info(
        "epoch %d/%d  train %.4f (image %.4f, pose %.4f)  val %.4f  PSNR %.2f dB (copy of the source %.2f)%s",
        *(done, cfg.epochs, train["loss"], train["image_loss"], train["pose_loss"], val["loss"], val["psnr_db"]),
        *(val["copy_psnr_db"], "  best so far" if is_best else ""),
    )
    boards.after_epoch(done, state.history)
    if is_shown(done, cfg.epochs):
        boards.show(done, pictures_of(parts.take_step, parts.val), parts.train)
    names = [LAST, *([BEST] if is_best else [])]
    if done % cfg.save_interval == 0:
        names.append(f"checkpoint_epoch_{done}.pth")
        written_or_told(lambda: save_curves(folder / f"training_curves_epoch_{done}.png", state.history))
    for name in names:
        written_or_told(lambda name=name: save_checkpoint(folder / name, state))
    written_or_told(lambda: _write_history(parts))


def _finish(parts: Assembled) -> None:
    """The last files; who is told of a finished run must have them, so a full disk is an error here."""
    folder, history = parts.cfg.save_dir, parts.state.history
    save_checkpoint(folder / FINAL, parts.state)
    _write_history(parts)
    save_curves(folder / FINAL_CURVES, history)
    best = min(history["val"], key=lambda row: row["loss"])
    LOG.info("best: %s (epoch %d, PSNR %.2f dB)", folder / BEST, best["epoch"], best["psnr_db"])
    LOG.info("curves: %s", folder / FINAL_CURVES)
    if parts.split.test:
        how = f"{folder / BEST} --data_dir {parts.cfg.data_dir} --out {folder / 'report'}"
        LOG.info("on the %d people that it has not seen: python launch/poses.py report %s", len(parts.split.test), how)


def _write_history(parts: Assembled) -> None:
    write_text(parts.cfg.save_dir / HISTORY, json.dumps(finite(parts.state.history), indent=1, allow_nan=False) + "\n")


def _stop_here(parts: Assembled, stop: StopRequest) -> None:
    cfg, state = parts.cfg, parts.state
    last = cfg.save_dir / LAST
    where = f"in epoch {state.epoch + 1} of {cfg.epochs}, after step {state.step_in_epoch}"
    stop_here(stop, parts.runtime, lambda: save_checkpoint(last, state), where=where, last=last)
