"""The margin softmax over classes that are sharded over the ranks, with sampled negatives (PartialFC).

gather embeddings -> find their targets among the active rows -> sweep the shard -> exchange sums -> loss and gradient;
then, behind the backbone's backward pass, sweep again: centre gradients and optimizer, block by block.

B local batch, G = B * W global batch, W ranks, D embedding, C classes, K classes of this shard, S of them active,
c centres of each, P tensors of a centre (itself and optimizer slots).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import nn

from recognition.errors import InputError
from recognition.head import sweep_triton
from recognition.head.active import ActiveRows
from recognition.head.centers import Centers
from recognition.head.exchange import exchange_sums, gather_batch
from recognition.head.health import Health
from recognition.head.objective import Objective
from recognition.head.room import Room
from recognition.head.rows import RowOptimizer, RowSGD
from recognition.head.shards import class_range, local_labels, num_sampled
from recognition.head.sweep import OPERANDS, Coefficients, Part, Sample, sweep_backward, sweep_forward
from recognition.head.sweep_triton import SGDStep
from recognition.head.targets import find_targets
from recognition.runtime import Runtime

MODES = ("auto", "keep", "recompute")
# Up to here, "auto" keeps the weights of a step (2 bytes each) for the second sweep instead of computing them again.
KEPT_BYTES = {"cpu": 1 << 30, "cuda": 8 << 30}


class HeadOutput(NamedTuple):
    """Scalars of one batch, equal on all ranks: the mean loss, and the mean cosine of targets before the margin."""

    loss: torch.Tensor
    target_cos: torch.Tensor


class PartialFC(nn.Module):
    """Class centres of this rank's shard with their optimizer, and the loss of a batch against all ranks' centres.

    PartialFC is An et al. 2022, "Killing Two Birds with One Stone". A step is `prepare`, then `forward` and backward
    for each batch that it accumulates, then `update`. Two gradients leave the loss, and they differ:
    - embeddings get that of the mean loss of this rank's samples, because DDP averages over the ranks afterwards;
    - centres get that of the mean loss of the global batch, because each lives on one rank and nothing averages it.
    Three collectives a batch for any W, and one more where the objective wants the targets' cosines first. The host
    never waits for the device: bad samples and centres are noted there, have no gradient, and are reported by `check`.
    Not supported: batches of different size on different ranks, double backward.
    """

    def __init__(
        self,
        objective: Objective,
        embedding_size: int,
        num_classes: int,
        sample_rate: float = 1.0,
        *,
        runtime: Runtime,
        seed: int = 0,
        optimizer: RowOptimizer = RowSGD(),  # noqa: B008 (frozen)
        centers: str = "memory",
        mode: str = "auto",
        operands: str = "auto",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        if embedding_size < 1:
            raise InputError(f"embedding_size={embedding_size} must be 1 or more")
        if num_classes < 1:
            raise InputError(f"num_classes={num_classes} must be 1 or more")
        if not 0 < sample_rate <= 1:
            raise InputError(f"sample_rate={sample_rate} must lie in (0, 1]; 1 uses all classes in every step")
        if mode not in MODES:
            raise InputError(f"head_mode={mode!r} must be one of {', '.join(MODES)}")
        if operands not in ("auto", *OPERANDS):
            raise InputError(f"head_operands={operands!r} must be one of auto, {', '.join(OPERANDS)}")
        self.objective = objective.to(runtime.device)
        self.embedding_size, self.num_classes, self.sample_rate = embedding_size, num_classes, float(sample_rate)
        self.runtime, self.mode, self.dtype = runtime, mode, dtype
        self.operands = ("tf32" if runtime.device.type == "cuda" else "fp32") if operands == "auto" else operands
        self.class_start, self.num_local = class_range(num_classes, runtime.world, runtime.rank)
        self._sum_dtype = objective.sum_dtype(num_classes, dtype)
        self.centers = Centers(
            self.class_start,
            self.num_local,
            embedding_size,
            subcenters=objective.subcenters,
            optimizer=optimizer,
            seed=seed,
            device=runtime.device,
            dtype=dtype,
            place=centers,
            shard=f"{runtime.rank}-of-{runtime.world}",
        )
        self._in_kernels = runtime.device.type == "cuda" and sweep_triton.supports(
            objective, optimizer, self._sum_dtype, embedding_size
        )
        if self.centers.home != runtime.device and self.sample_rate == 1:
            raise InputError(f"centers={centers!r} keeps the centres beside the GPU; that needs sample_rate below 1")
        num_drawn = num_sampled(self.num_local, self.sample_rate)
        self.active = ActiveRows(self.centers, num_drawn, seed=seed, rank=runtime.rank)
        self.health = Health(num_classes, runtime.world, runtime.device)
        self._parts: list[Part] = []
        self._room = Room(runtime.device)

    @property
    def weight(self) -> torch.Tensor:
        """The centres (K * c, D) of this shard, up to date; at c = 1 a view, so that writing to it writes them."""
        self.flush()
        return self.centers.table_KCPD[: self.num_local, :, 0].flatten(0, 1)

    def flush(self) -> None:
        """Bring every row of the table up to date with all steps so far, as a checkpoint needs it."""
        self.active.wait()
        self.centers.flush()

    def prepare(self, step: int, *, batch_size: int, batches: int = 1) -> None:
        """Draw and start fetching the rows of `step`, which will see `batches` batches of `batch_size` on each rank.

        Where `forward` finds nothing prepared it prepares for one batch. Called before the backbone runs, rows of a
        file or of the host travel while it does.
        """
        self._batches = batches
        self.health.begin()
        self.active.begin(step, batch_size * self.runtime.world * batches)

    def forward(self, emb_BD: torch.Tensor, labels_B: torch.Tensor, step: int) -> HeadOutput:
        """Loss of float embeddings (B, D) with int64 labels (B,) in [0, C); `step` keys the sampling."""
        if not self.active.has_begun:
            self.prepare(step, batch_size=len(emb_BD))
        with torch.autocast(emb_BD.device.type, enabled=False):
            emb_BD = emb_BD.to(self.dtype)
            norm_B = torch.linalg.vector_norm(emb_BD, dim=1)
            x_BD = emb_BD / norm_B.clamp_min(1e-12)[:, None]
            found = self._sweep(x_BD.detach(), norm_B.detach(), labels_B.long())
            loss = _Given.apply(found.loss, found.grad_x_BD, found.grad_norm_B, x_BD, norm_B)
            # The value of these is in the loss already; autograd makes their gradients.
            for term in (self.objective.regulariser(norm_B), self.objective.parameter_term(*found.closed)):
                if term is not None:
                    loss = loss + (term - term.detach())
            return HeadOutput(loss, found.target_cos)

    @property
    def is_bad(self) -> torch.Tensor:
        """Whether a sample of this step's batches had no finite loss: bool, on the device, equal on all ranks."""
        return self.health.is_bad

    def skip(self) -> None:
        """End the step without an update: neither centres nor what they owe for missed steps change."""
        self._parts = []
        self.active.abandon()

    @torch.no_grad()
    def update(self, lr: float, skip: torch.Tensor | None = None) -> None:
        """One optimizer step at rate `lr` on the centres, by the mean gradient of the batches since the last one.

        Where `skip`, a number on the device, is not 0 nothing changes: `skip()` for those who must not wait to know.
        """
        if not self._parts:
            raise RuntimeError("there is nothing to update: call forward() first")
        parts, self._parts = self._parts, []
        optimizer = self.centers.optimizer
        options = {"decay": optimizer.gradient_decay, "operands": self.operands}
        if self._in_kernels:
            sweep_triton.sweep_backward(parts, self.active.rows_SCPD, SGDStep(optimizer.momentum, lr, skip), **options)
        else:
            touched = self.active.touches()

            def update_(rows_RPD: torch.Tensor, grad_RD: torch.Tensor, place: slice) -> None:
                before_RPD = None if skip is None else rows_RPD.clone()
                optimizer.update_(rows_RPD, grad_RD, lr, touched if touched.ndim == 0 else touched[place])
                if skip is not None:
                    rows_RPD.copy_(torch.where(skip != 0, before_RPD, rows_RPD))

            sweep_backward(parts, self.active.rows_SCPD, update_, room=self._room, **options)
        self.active.end(lr, skip)

    def check(self) -> None:
        """InputError for a bad label so far, or an embedding or centre in the latest steps; waits for the device."""
        self.health.check(self.centers.table_KCPD[: self.num_local, :, 0], self.class_start)

    @torch.no_grad()
    def _sweep(self, x_BD: torch.Tensor, norm_B: torch.Tensor, labels_B: torch.Tensor) -> _Found:
        """Loss and gradients of a batch; leaves behind in `_parts` what `update` needs of it."""
        batch = gather_batch(x_BD.to(self._sum_dtype), norm_B, labels_B, self.runtime)
        slot_G, active_T = self.active.place(local_labels(batch.labels_G, self.class_start, self.num_local))
        rows_SCPD = self.active.rows_SCPD
        targets, value_G = find_targets(batch.x_GD, batch.norm_G, slot_G, rows_SCPD, self.objective, self.runtime)
        offset = self.objective.offset(self.num_classes, self._sum_dtype)
        sample = Sample(batch.x_GD, slot_G, targets.row_G, value_G, active_T)
        keep = self._keeps(len(slot_G), rows_SCPD.shape[:2].numel())
        options = {"operands": self.operands, "keep": keep}
        if self._in_kernels:
            swept = sweep_triton.sweep_forward(sample, rows_SCPD, self.objective, offset, **options)
        else:
            options |= {"room": self._room, "part": len(self._parts)}
            swept = sweep_forward(sample, rows_SCPD, self.objective, offset, **options)
        shares = exchange_sums(swept.sums_GQ, swept.numerator_GD, targets, self.runtime)

        closed = self.objective.close(shares.sums_GQ, shares.value_G, offset)
        # A sample without a loss has no gradient either: nothing that is not finite gets into an update.
        is_good_G = self.health.note(batch.labels_G, batch.is_finite_G, closed.loss_G)
        scale_G = torch.where(is_good_G, closed.scale_G * self.objective.s, 0)
        target_G = torch.where(is_good_G, closed.target_G, 0)
        coefficients = Coefficients(scale_G / len(scale_G), target_G * targets.slope_G)
        self._parts.append(Part(sample, self.objective.frozen(), offset, coefficients, swept.kept, swept.inverse_R1))

        mine = slice(self.runtime.rank * len(x_BD), (self.runtime.rank + 1) * len(x_BD))
        mean_B, is_good_B = scale_G[mine] / len(x_BD), is_good_G[mine]
        grad_x_BD = shares.numerator_BD + target_G[mine, None] * shares.direction_BD
        loss_G = torch.where(is_good_G, closed.loss_G, torch.nan)
        loss, regulariser = loss_G.mean(), self.objective.regulariser(batch.norm_G)
        return _Found(
            (loss if regulariser is None else loss + regulariser).to(self.dtype),
            shares.cos_G.mean().to(self.dtype),
            torch.where(is_good_B[:, None], mean_B[:, None] * grad_x_BD, 0).to(self.dtype),
            torch.where(is_good_B, mean_B * target_G[mine] * shares.by_norm_B, 0).to(self.dtype),
            (torch.where(is_good_G[:, None], shares.sums_GQ, torch.nan), shares.value_G, offset),
        )

    def _keeps(self, num_samples: int, num_rows: int) -> bool:
        if self.mode != "auto":
            return self.mode == "keep"
        return 2 * self._batches * num_samples * num_rows <= KEPT_BYTES.get(self.runtime.device.type, 0)


class _Found(NamedTuple):
    """What a sweep found out about a batch."""

    loss: torch.Tensor
    target_cos: torch.Tensor
    grad_x_BD: torch.Tensor
    grad_norm_B: torch.Tensor
    closed: tuple[torch.Tensor, torch.Tensor, float | torch.Tensor]


class _Given(torch.autograd.Function):
    """A scalar whose gradients by x and norm are given."""

    @staticmethod
    def forward(ctx: Any, loss: torch.Tensor, grad_x, grad_norm, x, norm) -> torch.Tensor:  # noqa: ANN001
        ctx.save_for_backward(grad_x, grad_norm)
        return loss.clone()

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        grad_x, grad_norm = ctx.saved_tensors
        return None, None, None, grad * grad_x, grad * grad_norm
