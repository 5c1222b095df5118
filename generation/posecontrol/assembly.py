"""What a pose-control run is put together from, and where it begins: anew, in a new stage, or exactly where it was."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass

import torch

from generation.backbone import FrozenBackbone
from generation.detection import WholePicture
from generation.identity.face_loss import DifferentiableFaceLoss
from generation.posecontrol.batches import PairBatches, open_pictures
from generation.posecontrol.checkpoint import PoseCheckpoint, read_checkpoint
from generation.posecontrol.config import OF_THE_MODEL, PoseControlConfig, model_arguments
from generation.posecontrol.control_net import ImageControlNet
from generation.posecontrol.pairs import SPLIT, Pairs, Split, pairs_of, split_of
from generation.posecontrol.pose_set import PoseSet, read_pose_set
from generation.posecontrol.state import PoseControlState
from generation.posecontrol.step import PoseControlStep
from generation.precision import AUTO
from generation.run_folder import checkpoint_meant, holding_folder
from recognition.environment import was_restarted
from recognition.errors import InputError
from recognition.runtime import Runtime

TOLD = 10  # rows left out that the log names
# Settings that a run may change when it goes on without that being worth a word.
_OF_THE_PLACE = frozenset(
    ("save_dir", "log_dir", "resume", "device", "threads", "num_workers", "cache_mb", "log_every", "requeue")
    + ("data_dir", "image_dir", "recogniser", "encoder_weights", "data_timeout_s", "collective_timeout_s")
    + ("strict_encoder", "new_stage")
)


@dataclass(frozen=True, eq=False)
class Assembled:
    """The parts of a run; `goes_on`: exactly from a checkpoint; `begins_with`: the one whose weights it begins with."""

    cfg: PoseControlConfig
    runtime: Runtime
    pose_set: PoseSet
    split: Split
    train: PairBatches
    val: PairBatches
    take_step: PoseControlStep
    state: PoseControlState
    goes_on: bool
    begins_with: PoseCheckpoint | None

    def steps_taken(self) -> int:
        """Steps before this start."""
        return self.state.epoch * len(self.train.steps) + self.state.step_in_epoch

    @contextmanager
    def holding_folder(self) -> Iterator[None]:
        """Make `save_dir` ready and keep it for this run; the split lies in it."""
        cfg, begins = self.cfg, self.begins_with
        path = None if begins is None else begins.path
        with holding_folder(cfg.save_dir, cfg.log_dir, self.runtime, goes_on=self.goes_on, begins_with=path):
            if self.runtime.is_main:
                self.split.write(cfg.save_dir / SPLIT)
            yield

    def described(self) -> list[str]:
        """What the log begins with."""
        cfg, model = self.cfg, self.take_step.model
        lines = [f"data: {self._data()}"]
        lines += [f"left out: {each.where}: {each.reason}" for each in self.pose_set.left_out[:TOLD]]
        if len(self.pose_set.left_out) > TOLD:
            lines.append(f"left out: {len(self.pose_set.left_out) - TOLD} more rows")
        trained = sum(parameter.numel() for parameter in self.take_step.parameters.values())
        facts = model.encoder.facts
        instead = f" instead of {facts['instead_of']}" if "instead_of" in facts else ""
        lines.append(
            f"model: encoder {facts['encoder']}{instead} ({'frozen' if facts['frozen'] else 'trained along'}), "
            f"{cfg.generator} generator, {trained:,} parameters trained"
        )
        if self.begins_with is not None:
            lines += [self._beginning(self.begins_with), *_changes(self.begins_with, cfg)]
        elif cfg.freeze_generator:
            lines.append(
                "warning: the generator is frozen as it was drawn at random, and can give no good picture; train it "
                "first with --reconstruct, then --resume that run's best_model.pth with --freeze_generator"
            )
        lines.append(
            f"{self.runtime.world} rank(s) on {self.runtime.device.type}, {self.take_step.precision}, "
            f"{len(self.train.steps)} steps an epoch, {cfg.epochs} epochs; checkpoints in {cfg.save_dir}"
        )
        return lines

    def _beginning(self, checkpoint: PoseCheckpoint) -> str:
        if not self.goes_on:
            return f"a new stage: the weights of {checkpoint.path}, from epoch 0 with lr {self.cfg.lr:g}"
        step = f", step {self.state.step_in_epoch}" if self.state.step_in_epoch else ""
        return f"going on from {checkpoint.path} at epoch {self.state.epoch}{step}"

    def _data(self) -> str:
        pairs = f"{len(self.train.pairs.front_P)} pairs to train on, {len(self.val.pairs.front_P)} to validate"
        people = f"{len(self.split.train)} + {len(self.split.val)} + {len(self.split.test)} people"
        return f"{pairs}; {people} to train, validate and test; {len(self.pose_set.left_out)} rows left out"


def assemble(cfg: PoseControlConfig, runtime: Runtime) -> Assembled | None:
    """Open all that the settings name and decide where the run begins; writes nothing. None: nothing is left to do.

    With the same parameters to train, `resume` goes on exactly; with others it begins a new stage with the weights.
    InputError as the parts have it, for a checkpoint that does not fit, and where a named one is of a finished run.
    """
    pose_set = read_pose_set(cfg.data_dir, cfg.image_dir, legacy_pose_order=cfg.legacy_pose_order)
    path, starts_again = checkpoint_meant(cfg.save_dir, cfg.resume, runtime)
    checkpoint = None if path is None else read_checkpoint(path)
    split = _split(cfg, pose_set, checkpoint)
    torch.manual_seed(cfg.seed)
    model = ImageControlNet(**model_arguments(cfg.as_plain()))
    if checkpoint is not None:
        _require_model(checkpoint, cfg)
        checkpoint.load_into(model)
    model.to(runtime.device)
    take_step = PoseControlStep(
        model,
        cfg,
        runtime,
        precision=cfg.precision(runtime.device),
        face_loss=_face_loss(cfg, model, runtime),
    )
    pictures = open_pictures(cfg.image_size, cfg.cache_mb << 20)
    train, val = (
        PairBatches(pose_set, _pairs(cfg, pose_set, part, people), pictures, cfg, runtime)
        for part, people in (("train", split.train), ("val", split.val))
    )
    train.require_steps()
    state = PoseControlState(take_step, cfg, asdict(split), pose_set.sha256)
    # What a person once said to a job does not count when the job is started again by itself.
    wants_stage = cfg.new_stage and not starts_again
    goes_on = checkpoint is not None and not wants_stage and checkpoint["trainable"] == sorted(take_step.parameters)
    if goes_on:
        _require_same_run(checkpoint, cfg, pose_set, runtime)
        state.restore(checkpoint)
        if state.epoch >= cfg.epochs:
            return _nothing_left(checkpoint, cfg, runtime)
    return Assembled(cfg, runtime, pose_set, split, train, val, take_step, state, goes_on, checkpoint)


def _split(cfg: PoseControlConfig, pose_set: PoseSet, checkpoint: PoseCheckpoint | None) -> Split:
    """That of the checkpoint, if its people are those of the set; of the set's own split.json; or by the seed."""
    if checkpoint is not None and checkpoint["data_sha256"] == pose_set.sha256:
        kept = checkpoint["split"]
        return Split(
            **{key: tuple(value) if isinstance(value, (list, tuple)) else value for key, value in kept.items()}
        )
    return split_of(cfg.data_dir, pose_set, seed=cfg.seed)


def _pairs(cfg: PoseControlConfig, pose_set: PoseSet, part: str, people: tuple[str, ...]) -> Pairs:
    pairs = pairs_of(pose_set, people, min_angle_deg=cfg.min_angle_diff, max_angle_deg=cfg.max_angle_diff)
    if not len(pairs.front_P):
        raise InputError(
            f"{cfg.data_dir}: no pair of the {len(people)} people to {part} is {cfg.min_angle_diff:g} to "
            f"{cfg.max_angle_diff:g} degrees apart; widen --min_angle_diff and --max_angle_diff, or bring more pictures"
        )
    return pairs


def _face_loss(cfg: PoseControlConfig, model: ImageControlNet, runtime: Runtime) -> DifferentiableFaceLoss | None:
    if not cfg.identity_loss_weight:
        return None
    backbone = getattr(model.encoder, "backbone", None)
    if cfg.identity_recogniser is not None:
        backbone = FrozenBackbone.open(cfg.identity_recogniser)
    if not isinstance(backbone, FrozenBackbone) or (cfg.identity_recogniser is None and cfg.finetune_backbone):
        raise InputError("--identity_loss_weight needs a recogniser that stays as it is: name --identity_recogniser")
    return DifferentiableFaceLoss(backbone=backbone, finder=WholePicture(), margin=1.0, device=runtime.device)


def _require_model(checkpoint: PoseCheckpoint, cfg: PoseControlConfig) -> None:
    ours, theirs = cfg.as_plain(), checkpoint["args"]
    differ = [f"--{key} {theirs[key]}" for key in OF_THE_MODEL if ours[key] != theirs[key]]
    if differ:
        raise InputError(f"{checkpoint.path} is a model of another make; give it back {' '.join(differ)}")


def _require_same_run(checkpoint: PoseCheckpoint, cfg: PoseControlConfig, pose_set: PoseSet, runtime: Runtime) -> None:
    if checkpoint["data_sha256"] != pose_set.sha256:
        raise InputError(
            f"{checkpoint.path} was trained on other data than {cfg.data_dir} holds; --new_stage begins at epoch 0 "
            "with its weights"
        )
    steps = [cfg.batch_size, runtime.world, cfg.gradient_accumulation_steps]
    if checkpoint["step_in_epoch"] and checkpoint["steps_an_epoch"] != steps:
        size, world, accumulation = checkpoint["steps_an_epoch"]
        raise InputError(
            f"{checkpoint.path} was written amid an epoch of --batch_size {size} --gradient_accumulation_steps "
            f"{accumulation} on {world} rank(s); go on with these, or from a checkpoint_epoch_N.pth"
        )


def _nothing_left(checkpoint: PoseCheckpoint, cfg: PoseControlConfig, runtime: Runtime) -> None:
    done = f"{checkpoint.path} has {checkpoint['epoch']} epochs done, and --epochs {cfg.epochs} counts them in"
    if cfg.resume != AUTO and not was_restarted():
        raise InputError(f"{done}: nothing is left to do; give more epochs, or --new_stage to begin again at epoch 0")
    if runtime.is_main:
        print(f"{done}: nothing is left to do")


def _changes(checkpoint: PoseCheckpoint, cfg: PoseControlConfig) -> list[str]:
    ours, theirs = cfg.as_plain(), checkpoint["args"]
    keys = [key for key in ours if key not in _OF_THE_PLACE and ours[key] != theirs.get(key)]
    return [f"note: {key} is {ours[key]} now, and was {theirs.get(key)}" for key in keys]
