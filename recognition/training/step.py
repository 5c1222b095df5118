"""One optimizer step: forward, sharded head, backward, clip, update."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from recognition.config import TrainConfig
from recognition.data.loader import Batch
from recognition.data.transforms import flip_mask, to_input
from recognition.errors import InputError
from recognition.head import PartialFC
from recognition.runtime import Runtime
from recognition.training.average import MovingAverage
from recognition.training.optimizer import build_optimizer

# torch 2.13 renamed the switch and warns at the old name.
RENAMED = "forward_sync_buffers" in inspect.signature(DistributedDataParallel.__init__).parameters
LOCAL_BUFFERS = "forward_sync_buffers" if RENAMED else "broadcast_buffers"


@dataclass(frozen=True)
class StepOutput:
    """Scalars of one step, still on the device: reading them waits for it."""

    loss: torch.Tensor
    target_cos: torch.Tensor
    grad_norm: torch.Tensor


def parallel(backbone: nn.Module, cfg: TrainConfig, runtime: Runtime) -> nn.Module:
    """The backbone as the step runs it: channels_last, data parallel when there are ranks, compiled when asked."""
    backbone.to(runtime.device, memory_format=torch.channels_last)
    module: nn.Module = backbone
    if runtime.world > 1:
        # BatchNorm statistics stay local while training and are averaged when a model is evaluated or saved.
        module = DistributedDataParallel(
            backbone,
            device_ids=[runtime.device.index] if runtime.device.type == "cuda" else None,
            gradient_as_bucket_view=True,
            **{LOCAL_BUFFERS: False},
        )
    return torch.compile(module) if cfg.compile else module


class TrainStep:
    """Holds what changes from step to step: backbone, head, optimizer, scaler, moving average."""

    def __init__(self, backbone: nn.Module, head: PartialFC, *, cfg: TrainConfig, runtime: Runtime) -> None:
        self.cfg, self.runtime = cfg, runtime
        self.backbone, self.head = backbone, head
        self.replica = parallel(backbone, cfg, runtime)
        self.optimizer = build_optimizer(backbone, head, cfg)
        # DDP gives all ranks the same gradients, so that they find the same overflows.
        self.scaler = torch.amp.GradScaler(
            runtime.device.type, growth_interval=100, enabled=cfg.precision_used == "fp16"
        )
        self.trainable = [p for p in backbone.parameters() if p.requires_grad]
        self.has_skipped = torch.zeros((), device=runtime.device)
        self.side = torch.cuda.Stream() if runtime.device.type == "cuda" else None
        self.average = None
        if cfg.ema_decay > 0:
            self.average = MovingAverage(backbone, cfg.ema_decay)

    @property
    def model(self) -> nn.Module:
        """The backbone to evaluate and save: the moving average where there is one."""
        return self.average.module if self.average is not None else self.backbone

    def embed(self, batch: Batch) -> torch.Tensor:
        """Embeddings emb_BD (float32) of a loader batch, flipped per sample as (seed, epoch, sample) says."""
        device = self.runtime.device
        flip_B = flip_mask(batch.ids_B, batch.epochs_B, self.cfg.seed).to(device) if self.cfg.flip else None
        x_BCHW = to_input(batch.images_BHWC.to(device, non_blocking=True), flip_B)
        with autocast(self.cfg, device):
            return self.replica(x_BCHW)

    def __call__(self, batches: Sequence[Batch], *, step: int, lr: float) -> StepOutput:
        """Step over `batches` (one per accumulation) at rate `lr`, with the gradient of the mean over all samples.

        Whatever is not finite takes no part in an update; `check` reports it, on a CPU at once.
        """
        self.head.prepare(step, batch_size=len(batches[0].labels_B), batches=len(batches))
        losses, cosines = [], []
        for part, batch in enumerate(batches):
            last = part == len(batches) - 1
            with nullcontext() if last or self.runtime.world == 1 else self.replica.no_sync():
                emb_BD = self.embed(batch)
                labels_B = batch.labels_B.to(self.runtime.device, non_blocking=True)
                output = self.head(emb_BD, labels_B, step)
                swept = self._mark()
                self.check_at_once(step)
                self.scaler.scale(output.loss / len(batches)).backward()
            losses.append(output.loss.detach())
            cosines.append(output.target_cos)
        grad_norm = self._clip()
        self.check_at_once(step)
        with self._beside(swept):
            self.head.update(lr)
        self._update(lr)
        return StepOutput(torch.stack(losses).mean(), torch.stack(cosines).mean(), grad_norm)

    def check(self, step: int) -> None:
        """InputError for what was not finite, or mislabelled, in any step up to `step`; waits for the device."""
        self.head.check()
        if not self.scaler.is_enabled() and self.has_skipped.item():
            raise InputError(
                f"the gradient of the backbone is not finite at step {step}, which did not update it. "
                f"Lower lr ({self.cfg.lr}), lengthen warmup_epoch, or use precision=bf16"
            )

    def check_at_once(self, step: int) -> None:
        """`check` where reading costs nothing."""
        if self.runtime.device.type == "cpu":
            self.check(step)

    def _clip(self) -> torch.Tensor:
        self.scaler.unscale_(self.optimizer)
        # After DDP the backbone's gradients are equal on all ranks: every rank finds the same norm and verdict.
        grad_norm = nn.utils.clip_grad_norm_(self.trainable, self.cfg.max_grad_norm or float("inf"))
        self.skip = (~torch.isfinite(grad_norm)).float()
        self.has_skipped = torch.maximum(self.has_skipped, self.skip)
        return grad_norm

    def _update(self, lr: float) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        if self.scaler.is_enabled():
            self.scaler.step(self.optimizer)
            self.scaler.update()
        else:
            # The fused kernels read the verdict on the device.
            self.optimizer.grad_scale, self.optimizer.found_inf = None, self.skip
            self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        if self.average is not None:
            self.average.update(self.backbone)

    def _mark(self) -> torch.cuda.Event | None:
        return torch.cuda.current_stream().record_event() if self.side is not None else None

    @contextmanager
    def _beside(self, start: torch.cuda.Event | None) -> Iterator[None]:
        """On a GPU: on a stream of its own from `start` on, so that it fills the gaps of the backward pass."""
        if start is None:
            yield
            return
        self.side.wait_event(start)
        with torch.cuda.stream(self.side):
            yield
        # Before the optimizer: what the head frees may then be handed out again.
        torch.cuda.current_stream().wait_stream(self.side)


def autocast(cfg: TrainConfig, device: torch.device) -> torch.autocast:
    """The autocast that the configured precision asks for; disabled for fp32."""
    dtypes = {"fp32": torch.bfloat16, "bf16": torch.bfloat16, "fp16": torch.float16}
    return torch.autocast(device.type, dtype=dtypes[cfg.precision_used], enabled=cfg.precision_used != "fp32")
