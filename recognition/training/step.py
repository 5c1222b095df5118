"""One optimizer step: forward, sharded head, backward, clip, update."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from recognition.config import TrainConfig
from recognition.data.augment import augmented
from recognition.data.loader import Batch
from recognition.data.transforms import flip_mask, to_input
from recognition.errors import InputError
from recognition.head import PartialFC
from recognition.runtime import Runtime
from recognition.training.average import MovingAverage
from recognition.training.freezing import Freezing
from recognition.training.loss_scale import LossScale
from recognition.training.optimizer import build_optimizer, rebuilt_optimizer, set_learning_rate
from recognition.training.parts import head_lr_factor, parse_lr_factors
from recognition.training.stopwatch import Stopwatch
from recognition.training.vote import Agreed, Ballot, Vote

# torch 2.13 renamed the switch and warns at the old name.
RENAMED = "forward_sync_buffers" in inspect.signature(DistributedDataParallel.__init__).parameters
LOCAL_BUFFERS = "forward_sync_buffers" if RENAMED else "broadcast_buffers"


@dataclass(frozen=True)
class StepOutput:
    """Scalars of one step, still on the device: reading them waits for it."""

    loss: torch.Tensor
    target_cos: torch.Tensor
    grad_norm: torch.Tensor


def parallel(backbone: nn.Module, cfg: TrainConfig, runtime: Runtime, *, is_new: bool = True) -> nn.Module:
    """The backbone as the step runs it: channels_last, data parallel when there are ranks, compiled when asked.

    Ranks begin with the main rank's weights and statistics, unless the backbone is not new: then it stays as it is.
    """
    backbone.to(runtime.device, memory_format=torch.channels_last)
    module: nn.Module = backbone
    # DDP wants something to do.
    if runtime.world > 1 and any(parameter.requires_grad for parameter in backbone.parameters()):
        # BatchNorm statistics stay local while training and are averaged when a model is evaluated or saved.
        module = DistributedDataParallel(
            backbone,
            device_ids=[runtime.device.index] if runtime.device.type == "cuda" else None,
            gradient_as_bucket_view=True,
            init_sync=is_new,
            **{LOCAL_BUFFERS: False},
        )
    return torch.compile(module) if cfg.compile else module


class TrainStep:
    """Holds what changes from step to step: backbone, head, optimizer, loss scale, moving average, the vote.

    A step with anything that is not finite, on any rank, changes nothing on any of them: no weight, no optimizer
    state, no running statistic. A CPU decides by a branch, a GPU, for which the host must not wait, by a flag on it.
    """

    def __init__(
        self,
        backbone: nn.Module,
        head: PartialFC,
        *,
        cfg: TrainConfig,
        runtime: Runtime,
        freezing: Freezing | None = None,
    ) -> None:
        self.cfg, self.runtime = cfg, runtime
        self.backbone, self.head, self.freezing = backbone, head, freezing
        self.augmentations = cfg.augmentations
        self.head_lr_factor = head_lr_factor(parse_lr_factors(cfg.lr_factors))
        self.replica = parallel(backbone, cfg, runtime)
        self.optimizer = build_optimizer(backbone, head, cfg)
        self.loss_scale = LossScale(cfg.precision_used == "fp16", runtime.device)
        self.vote = Vote(runtime)
        self.statistics = [*backbone.buffers(), *head.objective.buffers()]
        self.statistics_before = [buffer.clone() for buffer in self.statistics]
        # With three ranks or more, rounding depends on where in a bucket of DDP's a gradient lies.
        self.is_settled = runtime.world <= 2
        self.computing = Stopwatch(runtime.device)
        self.reads_at_once = runtime.device.type == "cpu"
        self.average = None
        if cfg.ema_decay > 0:
            self.average = MovingAverage(backbone, cfg.ema_decay)

    @property
    def model(self) -> nn.Module:
        """The backbone to evaluate and save: the moving average where there is one."""
        return self.average.module if self.average is not None else self.backbone

    def embed(self, batch: Batch) -> torch.Tensor:
        """Embeddings emb_BD (float32) of a loader batch, augmented and flipped as (seed, epoch, sample) says."""
        device, seed = self.runtime.device, self.cfg.seed
        flip_B = flip_mask(batch.ids_B, batch.epochs_B, seed).to(device) if self.cfg.flip else None
        images_BHWC = batch.images_BHWC.to(device, non_blocking=True)
        images_BHWC = augmented(images_BHWC, batch.ids_B, batch.epochs_B, self.augmentations, seed=seed)
        x_BCHW = to_input(images_BHWC, flip_B)
        with autocast(self.cfg.precision_used, device):
            return self.replica(x_BCHW)

    def __call__(
        self, batches: Sequence[Batch], *, step: int, lr: float, stop: bool = False, save: bool = False
    ) -> StepOutput:
        """Step over `batches` (one per accumulation) at rate `lr`, with the gradient of the mean over all samples.

        `stop` and `save` are this rank's wishes, which travel with the vote; `agreed` reads what came of it.
        """
        if self.freezing is not None and self.freezing.advance(step):
            self._rebuild()
        self._copy_statistics(self.statistics, self.statistics_before)
        if not self.is_settled:
            self._settle(batches[0])
        self.head.prepare(step, batch_size=len(batches[0].labels_B), batches=len(batches))
        losses, cosines = [], []
        for part, batch in enumerate(batches):
            last = part == len(batches) - 1
            with nullcontext() if last or not hasattr(self.replica, "no_sync") else self.replica.no_sync():
                self.runtime.at("forward", step)
                with self.computing.running():
                    emb_BD = self.embed(batch)
                output = self.head(emb_BD, batch.labels_B.to(self.runtime.device, non_blocking=True), step)
                if self.reads_at_once:
                    self.head.health.check_labels()
                if output.loss.requires_grad:  # not where all of the backbone is frozen
                    with self.runtime.collective("backward, with the all-reduce of the backbone's gradients"):
                        self.loss_scale.scaled(output.loss / len(batches)).backward()
            losses.append(output.loss.detach())
            cosines.append(output.target_cos)
        loss, grad_norm = torch.stack(losses).mean(), self._clip()
        self.ballot = self._cast(loss, grad_norm, stop, save)
        self._update(lr, self.ballot.skip)
        return StepOutput(loss, torch.stack(cosines).mean(), grad_norm)

    def agreed(self, step: int) -> Agreed:
        """The last vote; waits for the device. InputError for a bad label, or too many bad steps in a row."""
        self.head.health.check_labels()
        if (row := self.vote.longest_row()) >= self.cfg.max_bad_steps:
            centers_KCD = self.head.centers.table_KCPD[: self.head.num_local, :, 0]
            complaint = self.head.health.complaint(centers_KCD, self.head.class_start) or (
                f"the gradient of the backbone is not finite: lower lr ({self.cfg.lr}), lengthen warmup_epoch, "
                f"or use precision=bf16"
            )
            raise InputError(
                f"{row} steps in a row up to step {step + 1} were not finite; they changed nothing, and the last "
                f"checkpoint is kept. {complaint[0].upper()}{complaint[1:]}"
            )
        return self.ballot.read()

    def _settle(self, batch: Batch) -> None:
        """A backward pass for nothing: DDP lays its buckets out anew after its first, as gradients arrive.

        A run that is resumed would else sum the gradients of one step in another order than one that is not.
        """
        device = self.runtime.device
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            emb_BD = self.embed(batch)
            if emb_BD.requires_grad:
                emb_BD.sum().backward()
        self.optimizer.zero_grad(set_to_none=True)
        self._copy_statistics(self.statistics_before, self.statistics)
        self.is_settled = True

    def _rebuild(self) -> None:
        """What trains has changed: data parallelism and the optimizer begin anew, with what they remember."""
        self.replica = None  # the old DDP must let go of the parameters first
        self.replica = parallel(self.backbone, self.cfg, self.runtime, is_new=False)
        self.optimizer = rebuilt_optimizer(self.optimizer, self.backbone, self.head, self.cfg)
        self.is_settled = self.runtime.world <= 2

    def _clip(self) -> torch.Tensor:
        trainable = [p for p in self.backbone.parameters() if p.requires_grad]
        self.loss_scale.unscale_([*trainable, *self.head.parameters()])
        # After DDP the backbone's gradients are equal on all ranks: every rank finds the same norm.
        norm = nn.utils.clip_grad_norm_(trainable, self.cfg.max_grad_norm or float("inf"))
        return norm.to(self.runtime.device)  # that of no gradient at all is on the CPU

    @staticmethod
    def _copy_statistics(source: list[torch.Tensor], target: list[torch.Tensor]) -> None:
        if source:
            torch._foreach_copy_(target, source)

    def _cast(self, loss: torch.Tensor, grad_norm: torch.Tensor, stop: bool, save: bool) -> Ballot:
        is_bad = self.head.is_bad | ~torch.isfinite(loss)
        overflow = ~torch.isfinite(grad_norm)
        for parameter in self.head.parameters():
            if parameter.grad is not None:
                overflow = overflow | ~torch.isfinite(parameter.grad).all()
        is_bad = is_bad | (overflow & ~self.loss_scale.excuses(overflow))
        return self.vote.cast(is_bad=is_bad, overflow=overflow, stop=stop, save=save)

    def _update(self, lr: float, skip: torch.Tensor) -> None:
        set_learning_rate(self.optimizer, lr)
        if not self.reads_at_once:
            self.head.update(lr * self.head_lr_factor, skip)
            # The fused kernels read the verdict on the device.
            self.optimizer.grad_scale, self.optimizer.found_inf = None, skip
            self.optimizer.step()
            for buffer, before in zip(self.statistics, self.statistics_before):
                buffer.copy_(torch.where(skip != 0, before, buffer))
        elif skip.item() == 0:
            self.head.update(lr * self.head_lr_factor)
            self.optimizer.step()
        else:
            self.head.skip()
            self._copy_statistics(self.statistics_before, self.statistics)
        self.loss_scale.update(skip)
        self.optimizer.zero_grad(set_to_none=True)
        if self.average is not None:
            self.average.update(self.backbone, skip)


def autocast(precision: str, device: torch.device) -> torch.autocast:
    """The autocast that a precision (fp32, bf16, fp16) asks for; disabled for fp32."""
    dtypes = {"fp32": torch.bfloat16, "bf16": torch.bfloat16, "fp16": torch.float16}
    return torch.autocast(device.type, dtype=dtypes[precision], enabled=precision != "fp32")
