"""What a StarGAN run is put together from, and where it begins: anew, or exactly where it was."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from generation.backbone import FrozenBackbone
from generation.detection import WholePicture
from generation.identity.face_loss import DifferentiableFaceLoss
from generation.precision import AUTO, amp_precision
from generation.run_folder import checkpoint_meant, holding_folder
from generation.stargan.batches import AttributeBatches
from generation.stargan.checkpoint import (
    GENERATOR,
    StarGANCheckpoint,
    new_discriminator,
    new_generator,
    read_checkpoint,
)
from generation.stargan.config import OF_THE_MODEL, StarGANConfig
from generation.stargan.pictures import TEST, TRAIN, AttributePictures, open_pictures
from generation.stargan.state import StarGANState
from generation.stargan.step import StarGANStep
from recognition.environment import was_restarted
from recognition.errors import InputError
from recognition.runtime import Runtime

# Settings that a run may change when it goes on without that being worth a word.
_OF_THE_PLACE = frozenset(
    ("save_dir", "log_dir", "resume", "device", "threads", "num_workers", "cache_mb", "log_every", "requeue")
    + ("data_dir", "attr_path", "masks", "recogniser", "data_timeout_s", "collective_timeout_s", "dataset")
)


@dataclass(frozen=True, eq=False)
class Assembled:
    """The parts of a run; `begins_with`: the checkpoint that it goes on from, if any."""

    cfg: StarGANConfig
    runtime: Runtime
    pictures: AttributePictures
    test: AttributePictures
    train: AttributeBatches
    take_step: StarGANStep
    state: StarGANState
    begins_with: StarGANCheckpoint | None

    def steps_taken(self) -> int:
        """Steps before this start, or before now."""
        return self.state.epoch * self.train.steps + self.state.step_in_epoch

    @contextmanager
    def holding_folder(self) -> Iterator[None]:
        """Make `save_dir` ready and keep it for this run."""
        cfg, begins = self.cfg, self.begins_with
        path = None if begins is None else begins.path
        with holding_folder(cfg.save_dir, cfg.logs, self.runtime, goes_on=begins is not None, begins_with=path):
            yield

    def described(self) -> list[str]:
        """What the log begins with."""
        cfg, names, labels_NA = self.cfg, self.pictures.names, self.pictures.labels_NA
        shares = ", ".join(f"{name} {share:.0%}" for name, share in zip(names, labels_NA.mean(0)))
        lines = [f"data: {len(self.train.pictures)} pictures to train on, {len(self.test)} kept apart; {shares}"]
        lines += [f"left out: {line}" for line in self.pictures.left_out]
        sizes = [sum(p.numel() for p in net.parameters()) for net in self._networks()]
        lines.append(f"model: generator of {sizes[0]:,} parameters, discriminator of {sizes[1]:,}, c_dim {len(names)}")
        if self.begins_with is not None:
            step = f", step {self.state.step_in_epoch}" if self.state.step_in_epoch else ""
            lines.append(f"going on from {self.begins_with.path} at epoch {self.state.epoch}{step}")
            ours, theirs = cfg.as_plain(), self.begins_with.settings
            keys = [key for key in ours if key not in _OF_THE_PLACE and ours[key] != theirs.get(key)]
            lines += [f"note: {key} is {ours[key]} now, and was {theirs.get(key)}" for key in keys]
        lines.append(
            f"{self.runtime.world} rank(s) on {self.runtime.device.type}, {self.take_step.precision}, "
            f"{self.train.steps} steps an epoch, {cfg.num_epochs} epochs; checkpoints in {cfg.save_dir}"
        )
        return lines

    def _networks(self) -> tuple[torch.nn.Module, torch.nn.Module]:
        return self.take_step.generator, self.take_step.discriminator


def assemble(cfg: StarGANConfig, runtime: Runtime) -> Assembled | None:
    """Open all that the settings name and decide where the run begins; writes nothing. None: nothing is left to do.

    InputError as the parts have it, for a checkpoint that does not fit, and where a named one is of a finished run.
    """
    path, _ = checkpoint_meant(cfg.save_dir, cfg.resume, runtime)
    checkpoint = None if path is None else read_checkpoint(path)
    pictures = open_pictures(
        cfg.data_dir,
        cfg.attr_path,
        cfg.selected_attrs,
        cfg.image_size,
        cfg.crop_size,
        layout=None if cfg.dataset == AUTO else cfg.dataset,
        test_size=cfg.test_size,
        skip_missing=cfg.skip_missing,
        cache_mb=cfg.cache_mb,
        masks=cfg.masks,
    )
    train = AttributeBatches(pictures.split(TRAIN), cfg, runtime)
    if train.steps * cfg.num_epochs < cfg.n_critic:
        raise InputError(
            f"--n_critic {cfg.n_critic}: the generator would never learn in {cfg.num_epochs} epochs of {train.steps} "
            "steps; give a smaller one, or more epochs"
        )
    torch.manual_seed(cfg.seed)
    generator = new_generator(cfg.as_plain(), cfg.c_dim).to(runtime.device)
    discriminator = new_discriminator(cfg.as_plain(), cfg.c_dim).to(runtime.device)
    take_step = StarGANStep(
        generator,
        discriminator,
        cfg,
        runtime,
        precision=amp_precision(cfg.amp_dtype, runtime.device, use_amp=cfg.use_amp),
        face_loss=_face_loss(cfg, runtime),
    )
    state = StarGANState(take_step, cfg, pictures)
    if checkpoint is not None:
        _require_same_run(checkpoint, cfg, pictures, train, runtime)
        state.restore(checkpoint)
        if state.epoch >= cfg.num_epochs and (checkpoint.path.parent / GENERATOR).is_file():
            return _nothing_left(checkpoint, cfg, runtime)
    return Assembled(cfg, runtime, pictures, pictures.split(TEST), train, take_step, state, checkpoint)


def _face_loss(cfg: StarGANConfig, runtime: Runtime) -> DifferentiableFaceLoss | None:
    if not cfg.lambda_id:
        return None
    backbone = FrozenBackbone.open(cfg.recogniser)
    return DifferentiableFaceLoss(backbone=backbone, finder=WholePicture(), margin=1.0, device=runtime.device)


def _require_same_run(
    checkpoint: StarGANCheckpoint,
    cfg: StarGANConfig,
    pictures: AttributePictures,
    train: AttributeBatches,
    runtime: Runtime,
) -> None:
    ours, theirs = cfg.as_plain(), checkpoint.settings
    differ = [f"--{key} {theirs[key]}" for key in OF_THE_MODEL if ours[key] != theirs[key] and key != "residual"]
    if ours["residual"] != theirs["residual"]:
        differ.append("--residual" if theirs["residual"] else "no --residual")
    if checkpoint.attributes != pictures.names:
        differ.append(f"--selected_attrs {' '.join(checkpoint.attributes)}")
    if differ:
        raise InputError(f"{checkpoint.path} is a model of another make; give it back {' '.join(differ)}")
    if checkpoint["data_sha256"] != pictures.sha256:
        raise InputError(
            f"{checkpoint.path} was trained on other data than {cfg.data_dir} holds; begin anew without --resume"
        )
    if checkpoint["test_sha256"] != pictures.split(TEST).files_sha256():
        raise InputError(
            f"{checkpoint.path} kept other pictures apart than would be now: some that it was trained on would count "
            "as unseen; give back --test_size and list_eval_partition.txt as they were"
        )
    now = [train.steps, cfg.batch_size, runtime.world]
    if checkpoint["step_in_epoch"] and checkpoint["steps_an_epoch"] != now:
        _, size, world = checkpoint["steps_an_epoch"]
        raise InputError(
            f"{checkpoint.path} was written amid an epoch of --batch_size {size} on {world} rank(s); go on with these, "
            "or from a checkpoint_epoch_N.pth"
        )


def _nothing_left(checkpoint: StarGANCheckpoint, cfg: StarGANConfig, runtime: Runtime) -> None:
    done = f"{checkpoint.path} has {checkpoint.epoch} epochs done, and --num_epochs {cfg.num_epochs} counts them in"
    if cfg.resume != AUTO and not was_restarted():
        raise InputError(f"{done}: nothing is left to do; give more epochs")
    if runtime.is_main:
        print(f"{done}: nothing is left to do")
