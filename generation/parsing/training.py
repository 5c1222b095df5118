"""A whole parsing run, from pictures with masks to a parser: read `train` and you have read the system."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from generation.parsing.batches import MaskBatches
from generation.parsing.checkpoint import FORMAT, ParsingCheckpoint, new_net, read_checkpoint
from generation.parsing.config import OF_THE_MODEL, ParsingConfig
from generation.parsing.evaluation import evaluate, figures
from generation.parsing.masks import TEST, TRAIN, MaskedPictures, open_masks
from generation.parsing.step import ParsingStep, StepOutput
from generation.precision import AUTO, amp_precision
from generation.run_folder import BEST, LAST, checkpoint_meant, holding_folder, stop_here, written_or_told
from generation.torch_checkpoint import fill
from recognition.atomic import write_text
from recognition.collectives import all_reduce_sum
from recognition.environment import was_restarted
from recognition.errors import InputError
from recognition.heads.classes import NAMES
from recognition.log import LOG, end_log
from recognition.runtime import Runtime
from recognition.strict_json import finite
from recognition.training.agreement import require_agreement
from recognition.training.board import Board
from recognition.training.preemption import StopRequest
from recognition.training.progress import Throughput, gradient_text, log_skipped
from recognition.weights import write_torch_file

HISTORY, WEIGHTS = "training_history.json", "parser.pth"


@dataclass(eq=False)
class ParsingState:
    """All that a run must find again to go on exactly; order and variation are functions of the seed and the step."""

    take_step: ParsingStep
    pictures: MaskedPictures
    step: int = 0
    history: list[dict[str, Any]] = field(default_factory=list)
    best: float = -1.0

    def content(self) -> dict[str, Any]:
        """What a checkpoint holds (checkpoint.KEYS)."""
        take_step = self.take_step
        return {
            "format": FORMAT,
            "step": self.step,
            "settings": take_step.cfg.as_plain(),
            "classes": list(NAMES),
            "data_sha256": self.pictures.sha256(),
            "world": take_step.runtime.world,
            "net": take_step.net.state_dict(),
            "optimizer": take_step.optimizer.state_dict(),
            "small": {name: tensor.clone() for name, tensor in take_step.small_tensors().items()},
            "history": self.history,
            "best": self.best,
        }

    def restore(self, checkpoint: ParsingCheckpoint) -> None:
        """Go on exactly where `checkpoint` was written."""
        fill(self.take_step.net, checkpoint["net"], checkpoint.path)
        groups = self.take_step.optimizer.state_dict()["param_groups"]
        # Rates, momentum and decay are as the command line has them now.
        self.take_step.optimizer.load_state_dict({"state": checkpoint["optimizer"]["state"], "param_groups": groups})
        for name, tensor in self.take_step.small_tensors().items():
            tensor.copy_(checkpoint["small"][name])
        self.step, self.best = checkpoint["step"], checkpoint["best"]
        self.history = copy.deepcopy(checkpoint["history"])


@dataclass(frozen=True, eq=False)
class _Parts:
    """What a run is put together from."""

    cfg: ParsingConfig
    runtime: Runtime
    train: MaskBatches
    test: MaskedPictures
    state: ParsingState
    begins_with: ParsingCheckpoint | None


def train(cfg: ParsingConfig, runtime: Runtime) -> Path:
    """Train a parser as `cfg` says on all ranks; returns `save_dir`, which then holds parser.pth, the best weights.

    Goes on where `resume` says. Stopped, after a checkpoint, when a signal asked any rank to stop. InputError as the
    parts have it, and for a run that has nothing left to do.
    """
    parts = _assemble(cfg, runtime)
    if parts is None:
        return cfg.save_dir
    take_step, state = parts.state.take_step, parts.state
    begins = None if parts.begins_with is None else parts.begins_with.path
    folder = holding_folder(cfg.save_dir, cfg.logs, runtime, goes_on=begins is not None, begins_with=begins)
    with StopRequest() as stop, folder, _board(parts) as board:
        _begin(parts)
        speed = Throughput()
        for batch in parts.train.from_step(state.step):
            lr_factor = cfg.rate_factor(state.step)
            output = take_step(batch, lr_factor=lr_factor, stop=stop.is_set)
            take_step.require_good()
            state.step += 1
            speed.add(runtime.world * cfg.batch_size, batch.wait_s)
            if runtime.is_main:
                _tell(parts, board, output, lr_factor, speed)
            if state.step % cfg.eval_every == 0 or state.step == cfg.steps:
                with speed.paused():
                    _evaluate(parts, board, output)
            if output.agreed.stop and state.step < cfg.steps:
                where = f"after step {state.step} of {cfg.steps}"
                stop_here(stop, runtime, lambda: _save(parts, LAST), where=where, last=cfg.save_dir / LAST)
        if runtime.is_main:
            _finish(parts)
        runtime.wait_for_all("the last files")
    end_log()
    return cfg.save_dir


def _assemble(cfg: ParsingConfig, runtime: Runtime) -> _Parts | None:
    path, _ = checkpoint_meant(cfg.save_dir, cfg.resume, runtime)
    checkpoint = None if path is None else read_checkpoint(path)
    pictures = open_masks(cfg.data_dir, cfg.image_size, masks=cfg.masks, cache_mb=cfg.cache_mb)
    torch.manual_seed(cfg.seed)
    net = new_net(cfg.as_plain(), len(NAMES)).to(runtime.device)
    precision = amp_precision(cfg.amp_dtype, runtime.device, use_amp=cfg.use_amp)
    state = ParsingState(ParsingStep(net, cfg, runtime, precision=precision), pictures)
    if checkpoint is not None:
        _require_same_run(checkpoint, cfg, pictures, runtime)
        state.restore(checkpoint)
        if state.step >= cfg.steps:
            done = f"{checkpoint.path} has all of its {state.step} steps done: nothing is left to do"
            if cfg.resume != AUTO and not was_restarted():
                raise InputError(f"{done}; give more --steps")
            if runtime.is_main:
                print(done)
            return None
    batches = MaskBatches(pictures.split(TRAIN, cfg.test_size), cfg, runtime)
    return _Parts(cfg, runtime, batches, pictures.split(TEST, cfg.test_size), state, checkpoint)


def _require_same_run(
    checkpoint: ParsingCheckpoint, cfg: ParsingConfig, pictures: MaskedPictures, runtime: Runtime
) -> None:
    theirs, ours = checkpoint.settings, cfg.as_plain()
    if differ := [f"--{key} {theirs[key]}" for key in OF_THE_MODEL if theirs[key] != ours[key]]:
        raise InputError(f"{checkpoint.path} is a parser of another make; give it back {' '.join(differ)}")
    if checkpoint["data_sha256"] != pictures.sha256():
        raise InputError(
            f"{checkpoint.path} was trained on other pictures than {cfg.data_dir} holds; begin anew without --resume"
        )
    if (theirs["batch_size"], checkpoint["world"]) != (cfg.batch_size, runtime.world):
        raise InputError(
            f"{checkpoint.path} is of --batch_size {theirs['batch_size']} on {checkpoint['world']} rank(s); which "
            "pictures come next would be others: go on with these"
        )


@contextmanager
def _board(parts: _Parts) -> Iterator[Board | None]:
    """TensorBoard's writer while the run goes on, on the main rank."""
    if not parts.runtime.is_main:
        yield None
        return
    board = Board(parts.cfg.logs, purge_step=parts.state.step + 1)
    try:
        yield board
    finally:
        board.close()


def _begin(parts: _Parts) -> None:
    cfg, runtime, net = parts.cfg, parts.runtime, parts.state.take_step.net
    if not runtime.is_main:
        return
    count = sum(parameter.numel() for parameter in net.parameters())
    LOG.info("data: %d pictures to train on, %d kept apart", len(parts.train.pictures), len(parts.test))
    LOG.info("model: %s parameters, %d classes, pictures of %d pixels", f"{count:,}", net.n_classes, cfg.image_size)
    if parts.begins_with is not None:
        LOG.info("going on from %s at step %d", parts.begins_with.path, parts.state.step)
    precision = parts.state.take_step.precision
    LOG.info("%d rank(s) on %s, %s, %d steps", runtime.world, runtime.device.type, precision, cfg.steps)


def _tell(parts: _Parts, board: Board, output: StepOutput, lr_factor: float, speed: Throughput) -> None:
    cfg, step = parts.cfg, parts.state.step
    if output.agreed.is_skipped:
        log_skipped(step, output.agreed)
    if step % cfg.log_every and step != cfg.steps:
        return
    read = speed.read()
    numbers = {"Loss/train": output.loss, "LearningRate": cfg.lr * lr_factor, "ImagesPerSecond": read["images_per_s"]}
    board.draw(lambda writer: [writer.add_scalar(tag, value, step) for tag, value in numbers.items()])
    LOG.info(
        "step %d/%d  loss %.4f  lr %.5f  grad %s  %.1f images/s  data wait %.0f%%",
        *(step, cfg.steps, output.loss, cfg.lr * lr_factor, gradient_text(output.grad_norm)),
        *(read["images_per_s"], 100 * read["data_wait"]),
    )


def _evaluate(parts: _Parts, board: Board | None, output: StepOutput) -> None:
    """Judge on the pictures kept apart, each rank on its share; save; collective."""
    state, runtime, net = parts.state, parts.runtime, parts.state.take_step.net
    require_agreement({name: tensor.detach() for name, tensor in net.state_dict().items()}, runtime, step=state.step)
    row: dict[str, Any] = {"step": state.step, "loss": output.loss}
    if len(parts.test):
        mine_CC = torch.from_numpy(evaluate(net, _share(parts.test, runtime), device=runtime.device))
        row |= figures(all_reduce_sum(mine_CC.to(runtime.device), runtime, what="pixels").cpu().numpy())
    state.history.append(row)
    miou = row.get("miou", 0.0)
    is_best = miou >= state.best
    state.best = max(state.best, miou)
    if not runtime.is_main:
        return
    if len(parts.test):
        LOG.info("step %d  mIoU %.4f%s", state.step, miou, " (best)" if is_best else "")
        board.draw(lambda writer: [writer.add_scalar(f"Test/{key}", row[key], state.step) for key in _SHOWN])
    for name in (LAST, *((BEST,) if is_best else ())):
        written_or_told(lambda name=name: _save(parts, name))
    written_or_told(lambda: _write_history(parts))


_SHOWN = ("miou", "accuracy")


def _share(pictures: MaskedPictures, runtime: Runtime) -> MaskedPictures:
    which = slice(runtime.rank, None, runtime.world)
    return MaskedPictures(pictures.pictures[which], pictures.masks[which], pictures.image_size, pictures.cache)


def _finish(parts: _Parts) -> None:
    """The last files; who is told of a finished run must have them, so a full disk is an error here."""
    folder = parts.cfg.save_dir
    _save(parts, LAST)
    _write_history(parts)
    best = folder / BEST if (folder / BEST).is_file() else folder / LAST
    write_torch_file(folder / WEIGHTS, dict(read_checkpoint(best)["net"]))
    LOG.info("parser: %s, the weights of %s", folder / WEIGHTS, best.name)


def _save(parts: _Parts, name: str) -> None:
    write_torch_file(parts.cfg.save_dir / name, parts.state.content())


def _write_history(parts: _Parts) -> None:
    write_text(parts.cfg.save_dir / HISTORY, json.dumps(finite(parts.state.history), indent=1, allow_nan=False) + "\n")
