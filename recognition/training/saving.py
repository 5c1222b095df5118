"""When a run stores its state, and what becomes of it if the disk has no room."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

import torch
from torch import Tensor

from recognition.checkpoint.layout import FOLDER, REPLICATED, STATE, rank_file
from recognition.checkpoint.store import CheckpointStore
from recognition.checkpoint.writing import CheckpointNotWritten
from recognition.collectives import gather_text
from recognition.log import LOG
from recognition.runtime import Runtime
from recognition.training.agreement import require_agreement
from recognition.training.plan import Progressed
from recognition.training.vote import Agreed

_BLOCK_ELEMENTS = 1 << 24


class RunState(Protocol):
    """All that a run must find again, as its checkpoints take it."""

    def replicated(self) -> dict[str, Tensor]:
        """The live tensors that are equal on all ranks, by name."""
        ...

    def own(self) -> dict[str, Tensor]:
        """The tensors of this rank alone, by name."""
        ...

    def document(self, progressed: Progressed) -> dict[str, Any]:
        """What people and a resume read first, JSON; a collective, equal on all ranks."""
        ...


class SavingConfig(Protocol):
    """What a config says of checkpoints; see configs/base.py."""

    checkpoint_steps: int
    checkpoint_minutes: float
    checkpoint_keep: int
    checkpoint_keep_every: int
    checkpoint_keep_best: bool
    checkpoint_error: str
    agreement_steps: int


class Saving:
    """Writes checkpoints of a run when they are due; the run's folder belongs to this process while it is open."""

    def __init__(
        self,
        run_dir: Path,
        state: RunState,
        *,
        cfg: SavingConfig,
        runtime: Runtime,
        facts: Mapping[str, Any],
        goes_on_from: int | None = None,
    ) -> None:
        self.state, self.cfg, self.runtime, self.facts = state, cfg, runtime, facts
        self.store = CheckpointStore(
            run_dir / FOLDER,
            runtime,
            keep_last=cfg.checkpoint_keep,
            keep_every_steps=cfg.checkpoint_keep_every,
            keep_best=cfg.checkpoint_keep_best,
        )
        if goes_on_from is not None:
            self.store.go_on_from(goes_on_from)
        self.since = time.monotonic()
        self.saved_step = -1

    @property
    def is_late(self) -> bool:
        """Whether so much time has passed that a checkpoint is due; the main rank's clock counts, for all."""
        limit_s = 60 * self.cfg.checkpoint_minutes
        return self.runtime.is_main and limit_s > 0 and time.monotonic() - self.since >= limit_s

    def is_due(self, step: int, agreed: Agreed, *, is_best: bool, is_last: bool) -> bool:
        """Whether a checkpoint is due after so many steps of the run; equal on all ranks.

        It is every `checkpoint_steps`, when all agreed to save or to stop, with the best model so far, and at the end.
        """
        every = self.cfg.checkpoint_steps
        is_kept = is_best and self.cfg.checkpoint_keep_best
        return is_kept or is_last or agreed.save or agreed.stop or (every > 0 and step % every == 0)

    def after_step(self, progressed: Progressed, agreed: Agreed, *, is_best: bool, is_last: bool) -> bool:
        """Store the state if it is due, and let the ranks compare their weights if that is; collective in either case.

        True if a checkpoint was written.
        """
        done = progressed.step
        if self.is_due(done, agreed, is_best=is_best, is_last=is_last):
            return self.save(progressed, is_best=is_best and self.cfg.checkpoint_keep_best)
        if self.cfg.agreement_steps > 0 and done % self.cfg.agreement_steps == 0:
            require_agreement(self.state.replicated(), self.runtime, step=done)
        return False

    def save(self, progressed: Progressed, *, is_best: bool = False) -> bool:
        """Store the state on all ranks; False, with the reason in the log, if it could not be and the run goes on.

        ReplicasDiffer when the ranks do not hold the same weights; CheckpointNotWritten if that is to end the run.
        """
        replicated, own = self.state.replicated(), self.state.own()
        require_agreement(replicated, self.runtime, step=progressed.step)
        try:
            started = time.monotonic()
            self._require_finite({**(replicated if self.runtime.is_main else {}), **own}, progressed.step)
            files = {rank_file(self.runtime.rank, self.runtime.world): own}
            if self.runtime.is_main:
                files[REPLICATED] = replicated
            document = self.state.document(progressed)
            path = self.store.save(
                progressed.step, tensors=files, documents={STATE: document}, facts=self.facts, is_best=is_best
            )
        except CheckpointNotWritten as error:
            if self.cfg.checkpoint_error == "stop":
                raise
            if self.runtime.is_main:
                LOG.warning("not written: %s; the run goes on, earlier checkpoints are as they were", error)
            return False
        finally:
            self.since = time.monotonic()
        self.saved_step = progressed.step
        if self.runtime.is_main:
            LOG.info("checkpoint: %s (%.1f s)", path, time.monotonic() - started)
        return True

    def _require_finite(self, tensors: dict[str, Tensor], step: int) -> None:
        """CheckpointNotWritten on all ranks when a tensor of any is not finite: what is kept is worth going back to."""
        bad = next((name for name, tensor in tensors.items() if not _is_finite(tensor)), "")
        said = [(rank, name) for rank, name in enumerate(gather_text(bad, self.runtime)) if name]
        if said:
            rank, name = said[0]
            raise CheckpointNotWritten(f"{name} of rank {rank} is not finite at step {step}")

    def close(self) -> None:
        """Let go of the folder."""
        self.store.close()

    def __enter__(self) -> Saving:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _is_finite(tensor: Tensor) -> bool:
    if not tensor.is_floating_point():
        return True
    if not tensor.is_contiguous():
        return bool(torch.isfinite(tensor).all())
    blocks = tensor.view(-1).split(_BLOCK_ELEMENTS)
    return all(bool(torch.isfinite(block).all()) for block in blocks)
