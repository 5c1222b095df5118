"""A whole StarGAN run, from pictures with attributes to a generator: read `train` and you have read the system."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from generation.run_folder import LAST, stop_here, written_or_told
from generation.stargan.assembly import Assembled, assemble
from generation.stargan.boards import Boards, save_curves, save_sheet, sheet_of
from generation.stargan.checkpoint import GENERATOR
from generation.stargan.config import StarGANConfig
from generation.stargan.editing import sample_rows
from generation.stargan.progress import EpochProgress
from generation.stargan.state import require_equal_ranks, save_checkpoint
from recognition.atomic import write_text
from recognition.log import LOG, end_log
from recognition.runtime import Runtime
from recognition.strict_json import finite
from recognition.training.preemption import StopRequest
from recognition.weights import write_torch_file

HISTORY, CURVES, SAMPLES = "training_history.json", "training_curves.png", "samples"


def train(cfg: StarGANConfig, runtime: Runtime) -> Path:
    """Train a generator as `cfg` says on all ranks; returns `save_dir`, which then holds stargan_G.pth.

    Goes on where `resume` says. Stopped, after a checkpoint, when a signal asked any rank to stop. InputError as the
    parts have it, and for a run that has nothing left to do.
    """
    parts = assemble(cfg, runtime)
    if parts is None:
        return cfg.save_dir
    if parts.state.epoch >= cfg.num_epochs:
        return _finish_only(parts)
    take_step, state = parts.take_step, parts.state
    with StopRequest() as stop, parts.holding_folder(), shown_in(parts) as boards:
        _begin(parts, boards)
        for epoch in range(state.epoch, cfg.num_epochs):
            with EpochProgress(cfg, runtime, boards, state, num_steps=parts.train.steps) as progress:
                for batch in parts.train.epoch(epoch, first_step=state.step_in_epoch):
                    done = parts.steps_taken() + 1
                    lr_factor = rate_factor(cfg, done - 1, parts.train.steps)
                    turn = done % cfg.n_critic == 0
                    output = take_step(batch, lr_factor=lr_factor, with_generator=turn, stop=stop.is_set)
                    take_step.require_good()
                    progress.after_step(output, batch, lr_factor=lr_factor)
                    if output.stop:
                        _stop_here(parts, stop)
            require_equal_ranks(state)
            state.end_epoch()
            if runtime.is_main:
                _after_epoch(parts, boards)
            runtime.wait_for_all("the end of an epoch")
        if runtime.is_main:
            _finish(parts)
        runtime.wait_for_all("the last files")
    end_log()
    return cfg.save_dir


def rate_factor(cfg: StarGANConfig, step: int, steps_an_epoch: int) -> float:
    """What the learning rates are multiplied with at a step, from 0: 1, and in the last epochs falling towards 0."""
    falling = cfg.decay_epochs * steps_an_epoch
    left = cfg.num_epochs * steps_an_epoch - step
    return min(1.0, left / falling) if falling else 1.0


@contextmanager
def shown_in(parts: Assembled) -> Iterator[Boards | None]:
    """TensorBoard's writer while the run goes on, on the main rank."""
    if not parts.runtime.is_main:
        yield None
        return
    boards = Boards(parts.cfg.logs, steps=parts.steps_taken())
    try:
        yield boards
    finally:
        boards.close()


def _begin(parts: Assembled, boards: Boards | None) -> None:
    if boards is None:
        return
    for line in parts.described():
        LOG.info("%s", line)
    boards.tell("Settings", json.dumps(parts.cfg.as_plain(), indent=1))


def _after_epoch(parts: Assembled, boards: Boards) -> None:
    """Files and pictures of an epoch; a full disk costs them, and not the run."""
    cfg, state, folder = parts.cfg, parts.state, parts.cfg.save_dir
    done, row = state.epoch, state.history[-1]
    losses = ", ".join(f"{name} {row[name]:.3f}" for name in ("d_loss", "g_loss") if name in row)
    LOG.info("epoch %d/%d  %s", done, cfg.num_epochs, losses or "no step counted")
    names = [LAST, *([f"checkpoint_epoch_{done}.pth"] if done % cfg.save_interval == 0 else [])]
    for name in names:
        written_or_told(lambda name=name: _save(parts, folder / name))
    written_or_told(lambda: _write_history(parts))
    if done % cfg.sample_interval == 0 or done == cfg.num_epochs:
        written_or_told(lambda: _show_samples(parts, boards))


def _show_samples(parts: Assembled, boards: Boards) -> None:
    done = parts.state.epoch
    some = parts.test if len(parts.test) else parts.train.pictures
    titles, rows = sample_rows(parts.take_step.average.module, some)
    sheet_HWC = sheet_of(rows)
    boards.samples(done * parts.train.steps, sheet_HWC)
    path = parts.cfg.save_dir / SAMPLES / f"epoch_{done}.png"
    save_sheet(path, sheet_HWC)
    LOG.info("samples: %s (%s)", path, " | ".join(titles))


def _finish(parts: Assembled) -> None:
    """The last files; who is told of a finished run must have them, so a full disk is an error here."""
    folder = parts.cfg.save_dir
    weights = {name: tensor.cpu() for name, tensor in parts.take_step.average.module.state_dict().items()}
    write_torch_file(folder / GENERATOR, weights)  # first: where the disk is nearly full, it is what the run was for
    _save(parts, folder / LAST)
    _write_history(parts)
    save_curves(folder / CURVES, parts.state.history)
    LOG.info("generator: %s (%s)", folder / GENERATOR, " ".join(parts.pictures.names))
    if len(parts.test):
        how = f"{folder} --data {parts.cfg.data_dir} --out {folder / 'report'}"
        LOG.info("on the %d pictures that it has not seen: python launch/edits.py report %s", len(parts.test), how)


def _finish_only(parts: Assembled) -> Path:
    """The last files of a run that was ended before it could write them."""
    with parts.holding_folder():
        if parts.runtime.is_main:
            _finish(parts)
        parts.runtime.wait_for_all("the last files")
    end_log()
    return parts.cfg.save_dir


def _save(parts: Assembled, path: Path) -> None:
    save_checkpoint(path, parts.state, steps_an_epoch=parts.train.steps)


def _write_history(parts: Assembled) -> None:
    write_text(parts.cfg.save_dir / HISTORY, json.dumps(finite(parts.state.history), indent=1, allow_nan=False) + "\n")


def _stop_here(parts: Assembled, stop: StopRequest) -> None:
    cfg, state = parts.cfg, parts.state
    last = cfg.save_dir / LAST
    where = f"in epoch {state.epoch + 1} of {cfg.num_epochs}, after step {state.step_in_epoch}"
    stop_here(stop, parts.runtime, lambda: _save(parts, last), where=where, last=last)
